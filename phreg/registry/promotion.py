"""Aliases: names such as `champion` that point at a version, and the history of who held them.

<model>/promotions/<alias>/<number>.json   every promotion, numbered from 1, never changed: the last holds
<model>/aliases/<alias>.json               a copy of the last one; it may be behind by a crash or a race

A promotion is made by creating the next number, so of two at the same time one sees that it was too late.
No number is given twice, and one that was lost leaves a gap that does no harm.
"""

import logging
from datetime import UTC, datetime

from phreg.errors import RegistryError
from phreg.registry.names import check_alias
from phreg.registry.promotion_file import (
    Promotion,
    alias_path,
    last_number,
    numbered_path,
    read_old_promotion,
    read_promotion,
)
from phreg.registry.store import check_store
from phreg.storage import Folder

logger = logging.getLogger(__name__)


def point(
    model: Folder, alias: str, version: int, reason: str, held: Promotion | None, number: int | None = None
) -> Promotion | None:
    """Point an alias of a model's folder at a version; None if it is not `held` any more that holds it.

    `number` is that of the promotion: the one after `held`, unless that cannot be read.
    """
    check_store(model)
    number = number or following(held)
    promotion = Promotion(
        alias=check_alias(alias),
        version=version,
        reason=reason,
        promoted_at=datetime.now(UTC).isoformat(timespec="microseconds"),
        previous=held.version if held else None,
        number=number,
    )
    data, path = promotion.to_bytes(), numbered_path(alias, number)
    if not model.create(path, data) and model.read(path) != data:  # ours, if the store's answer was lost
        return None
    model.write(alias_path(alias), data)
    return promotion


def following(held: Promotion | None) -> int:
    """The number of the promotion that comes after this one."""
    return held.number + 1 if held else 1


def promote(model: Folder, alias: str, version: int, reason: str) -> Promotion:
    """Point an alias at a version, whatever it points at. Of two at the same time, the later holds."""
    while True:
        held, number = None, None
        try:
            held = current(model, alias)
        except RegistryError as error:
            logger.warning("%s\n  the new promotion takes its place", error)
            number = last_number(model, check_alias(alias)) + 1
        promotion = point(model, alias, version, reason, held, number)
        if promotion is not None:
            return promotion


def current(model: Folder, alias: str) -> Promotion | None:
    """The promotion in force for an alias: that of the highest number. None if it was never given.

    Raises `RegistryError` if that one is damaged, and the alias has no copy of it.
    """
    copy = _copy(model, check_alias(alias))
    last = last_number(model, alias, copy.number if copy else 0)
    if copy is not None and copy.number == last:
        return copy
    later = (read_promotion(model, numbered_path(alias, number)) for number in range(last, 0, -1))
    return next((promotion for promotion in later if promotion is not None), copy)


def of_number(model: Folder, alias: str, number: int) -> Promotion | None:
    """A certain promotion. Of a damaged one that does not hold any more, the log says that it is left out."""
    held = current(model, alias)
    if held is not None and held.number == number:
        return held
    return read_old_promotion(model, numbered_path(alias, number))


def names(model: Folder) -> list[str]:
    """All that were ever given, sorted."""
    found = {item.path.split("/")[1] for item in model.list("promotions") if item.path.count("/") == 2}
    found |= {item.path.split("/")[1].removesuffix(".json") for item in model.list("aliases")}
    return sorted(found)


def aliases(model: Folder) -> dict[str, Promotion]:
    """All aliases of a model, by name."""
    found = {name: current(model, name) for name in names(model)}
    return {name: promotion for name, promotion in found.items() if promotion is not None}


def history(model: Folder) -> tuple[Promotion, ...]:
    """Every promotion of a model, oldest first. Damaged ones are left out, unless they are the last."""
    last = {numbered_path(held.alias, held.number): held for held in aliases(model).values()}
    paths = {item.path for item in model.list("promotions") if item.path.endswith(".json")}
    earlier = (read_old_promotion(model, path) for path in sorted(paths - set(last)))
    found = [*(promotion for promotion in earlier if promotion is not None), *last.values()]
    return tuple(sorted(found, key=lambda promotion: (promotion.promoted_at, promotion.number)))


def damaged(model: Folder) -> dict[str, str]:
    """What is wrong with promotions and aliases that cannot be read, by path."""
    problems = {}
    for item in [*model.list("promotions"), *model.list("aliases")]:
        try:
            read_promotion(model, item.path)
        except RegistryError as error:
            problems[item.path] = str(error)
    return problems


def mend(model: Folder, path: str) -> bool:
    """Write an alias anew from its last promotion, or that from the alias; False where both are damaged."""
    alias = path.split("/")[1].removesuffix(".json")
    try:
        held = (
            current(model, alias) if path == alias_path(alias) else read_promotion(model, alias_path(alias))
        )
    except RegistryError:
        return False
    if held is None or path not in (alias_path(alias), numbered_path(alias, held.number)):
        return False
    model.write(path, held.to_bytes())
    return True


def _copy(model: Folder, alias: str) -> Promotion | None:
    """The copy of an alias's last promotion; a damaged one is passed over if there are numbered ones."""
    try:
        return read_promotion(model, alias_path(alias))
    except RegistryError as error:
        if not last_number(model, alias):
            raise
        logger.warning("%s\n  the promotions themselves are read instead", error)
        return None
