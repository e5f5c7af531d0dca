"""Aliases: names such as `champion` that point at a version, and the history of who held them.

<model>/promotions/<alias>/<number>.json   every promotion, numbered from 1, never changed: the last holds
<model>/aliases/<alias>.json               a copy of the last one; it may be behind by a crash or a race

A promotion is made by creating the next number, so of two at the same time one sees that it was too late.
"""

import contextlib
import logging
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, ValidationError

from phreg.errors import ObjectNotFoundError, RegistryError
from phreg.registry.names import check_alias
from phreg.sealed import seal, unseal
from phreg.storage import Folder

logger = logging.getLogger(__name__)


class Promotion(BaseModel):
    """One version given one alias. `promoted_at` is UTC, ISO 8601; `previous` held the alias before.

    `number` is its place among the alias's promotions, from 1 (0: made before they were numbered).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    alias: str
    version: int
    reason: str
    promoted_at: str
    previous: int | None = None
    number: int = 0

    def to_bytes(self) -> bytes:
        return seal(self.model_dump(mode="json"))


def point(model: Folder, alias: str, version: int, reason: str, held: Promotion | None) -> Promotion | None:
    """Point an alias of a model's folder at a version; None if it is not `held` any more that holds it."""
    number = held.number + 1 if held else 1
    promotion = Promotion(
        alias=check_alias(alias),
        version=version,
        reason=reason,
        promoted_at=datetime.now(UTC).isoformat(timespec="microseconds"),
        previous=held.version if held else None,
        number=number,
    )
    data, path = promotion.to_bytes(), _numbered(alias, number)
    if not model.create(path, data) and model.read(path) != data:  # ours, if the store's answer was lost
        return None
    model.write(_alias(alias), data)
    return promotion


def promote(model: Folder, alias: str, version: int, reason: str) -> Promotion:
    """Point an alias at a version, whatever it points at. Of two at the same time, the later holds."""
    while True:
        promotion = point(model, alias, version, reason, current(model, alias))
        if promotion is not None:
            return promotion


def current(model: Folder, alias: str) -> Promotion | None:
    """The promotion in force for an alias, None if it was never given."""
    held = _copy(model, check_alias(alias))
    while (later := _read(model, _numbered(alias, held.number + 1 if held else 1))) is not None:
        held = later
    return held


def aliases(model: Folder) -> dict[str, Promotion]:
    """All aliases of a model, by name."""
    names = {item.path.split("/")[1] for item in model.list("promotions") if item.path.count("/") == 2}
    names |= {item.path.split("/")[1].removesuffix(".json") for item in model.list("aliases")}
    found = {name: current(model, name) for name in sorted(names)}
    return {name: promotion for name, promotion in found.items() if promotion is not None}


def history(model: Folder) -> tuple[Promotion, ...]:
    """Every promotion of a model, oldest first."""
    paths = [item.path for item in model.list("promotions") if item.path.endswith(".json")]
    found = [promotion for path in paths if (promotion := _read(model, path)) is not None]
    return tuple(sorted(found, key=lambda promotion: (promotion.promoted_at, promotion.number)))


def damaged(model: Folder) -> dict[str, str]:
    """What is wrong with promotions and aliases that cannot be read, by path."""
    problems = {}
    for item in [*model.list("promotions"), *model.list("aliases")]:
        try:
            _read(model, item.path)
        except RegistryError as error:
            problems[item.path] = str(error)
    return problems


def mend(model: Folder, path: str) -> bool:
    """Write an alias anew from its last promotion, or that from the alias; False where both are damaged."""
    alias = path.split("/")[1].removesuffix(".json")
    try:
        held = current(model, alias) if path == _alias(alias) else _read(model, _alias(alias))
    except RegistryError:
        return False
    if held is None or path not in (_alias(alias), _numbered(alias, held.number)):
        return False
    model.write(path, held.to_bytes())
    return True


def _copy(model: Folder, alias: str) -> Promotion | None:
    """The copy of an alias's last promotion; a damaged one is passed over if there are numbered ones."""
    try:
        return _read(model, _alias(alias))
    except RegistryError as error:
        if not model.exists(_numbered(alias, 1)):
            raise
        logger.warning("%s\n  the promotions themselves are read instead", error)
        return None


def _alias(alias: str) -> str:
    return f"aliases/{alias}.json"


def _numbered(alias: str, number: int) -> str:
    return f"promotions/{alias}/{number}.json"


def _read(model: Folder, path: str) -> Promotion | None:
    with contextlib.suppress(ObjectNotFoundError):
        data = model.read(path)
        try:
            return Promotion.model_validate(unseal(data, older=True))
        except ValueError as error:
            raise RegistryError(
                f"Cannot read the promotion {model.url_of(path)}",
                found=error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error),
                remedy="remove it, then promote the version you want again (`phreg registry promote`)",
            ) from None
    return None
