"""Aliases: names such as `champion` that point at a version, and the history of who held them.

<model>/aliases/<alias>.json            the promotion in force
<model>/promotions/<time>-<id>.json     every promotion ever made, never changed
"""

import uuid
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, ValidationError

from phreg.errors import ObjectNotFoundError, RegistryError
from phreg.fingerprint import canonical_json
from phreg.registry.names import check_alias
from phreg.storage import Folder


class Promotion(BaseModel):
    """One version given one alias. `promoted_at` is UTC, ISO 8601; `previous` held the alias before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alias: str
    version: int
    reason: str
    promoted_at: str
    previous: int | None = None


def point(model: Folder, alias: str, version: int, reason: str) -> Promotion:
    """Point an alias of a model's folder at a version. Of two at the same time, the later write holds.

    The history is written first: after a crash in between it names a promotion that did not come into
    force, and never lacks one that did.
    """
    held = current(model, alias)
    now = datetime.now(UTC)
    promotion = Promotion(
        alias=check_alias(alias),
        version=version,
        reason=reason,
        promoted_at=now.isoformat(timespec="microseconds"),
        previous=held.version if held else None,
    )
    data = canonical_json(promotion.model_dump(mode="json"))
    model.create(f"promotions/{now:%Y%m%dT%H%M%S.%fZ}-{uuid.uuid4().hex[:8]}.json", data)
    model.write(f"aliases/{alias}.json", data)
    return promotion


def current(model: Folder, alias: str) -> Promotion | None:
    """The promotion in force for an alias, None if it was never given."""
    path = f"aliases/{check_alias(alias)}.json"
    try:
        return _parse(model.read(path), model.url_of(path))
    except ObjectNotFoundError:
        return None


def aliases(model: Folder) -> dict[str, Promotion]:
    """All aliases of a model, by name."""
    return {promotion.alias: promotion for promotion in _all(model, "aliases")}


def history(model: Folder) -> tuple[Promotion, ...]:
    """Every promotion of a model, oldest first."""
    return tuple(sorted(_all(model, "promotions"), key=lambda promotion: promotion.promoted_at))


def _all(model: Folder, under: str) -> list[Promotion]:
    paths = [item.path for item in model.list(under) if item.path.endswith(".json")]
    return [_parse(model.read(path), model.url_of(path)) for path in paths]


def _parse(data: bytes, where: str) -> Promotion:
    try:
        return Promotion.model_validate_json(data)
    except ValidationError as error:
        raise RegistryError(
            f"Cannot read the promotion {where}",
            found=str(error.errors()[0]["msg"]),
            remedy="promote the version you want again (`phreg registry promote`)",
        ) from None
