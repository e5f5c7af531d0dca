"""A promotion as it is stored: under its number, and as the copy that an alias is of its last one."""

import contextlib
import logging
import re

from pydantic import BaseModel, ConfigDict, ValidationError

from phreg.errors import ObjectNotFoundError, RegistryError
from phreg.storage import Folder
from phreg.storage.checksummed import from_checksummed_json, to_checksummed_json

_NUMBERED = re.compile(r"promotions/[^/]+/([1-9]\d{0,8})\.json")

logger = logging.getLogger(__name__)


class Promotion(BaseModel):
    """One version given one alias. `promoted_at` is UTC, ISO 8601; `previous` held the alias before.

    `number` is its place among the alias's promotions, from 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    alias: str
    version: int
    reason: str
    promoted_at: str
    previous: int | None = None
    number: int

    def to_bytes(self) -> bytes:
        return to_checksummed_json(self.model_dump(mode="json"))


def alias_path(alias: str) -> str:
    return f"aliases/{alias}.json"


def numbered_path(alias: str, number: int) -> str:
    return f"promotions/{alias}/{number}.json"


def last_number(model: Folder, alias: str, known: int = 0) -> int:
    """The highest number that was given; 0 if none was.

    The listing may have gaps, and may be out of date: the number after the highest is looked up by itself.
    """
    listed = (_NUMBERED.fullmatch(item.path) for item in model.list(f"promotions/{alias}"))
    last = max([known, *(int(match[1]) for match in listed if match)])
    while model.exists(numbered_path(alias, last + 1)):
        last += 1
    return last


def read_promotion(model: Folder, path: str) -> Promotion | None:
    """A stored promotion, None if there is none. Raises `RegistryError` for one that cannot be read, or that
    is not what its path says."""
    try:
        promotion = Promotion.model_validate(from_checksummed_json(model.read(path)))
        if path not in (alias_path(promotion.alias), numbered_path(promotion.alias, promotion.number)):
            raise ValueError(f"promotion {promotion.number} of {promotion.alias}")
        return promotion
    except ObjectNotFoundError:
        return None
    except ValueError as error:
        raise RegistryError(
            f"Cannot read the promotion {model.url_of(path)}",
            found=error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error),
            remedy="`phreg registry promote` the version that shall hold the alias, which gets the next "
            "number; this one is then only history, and may be removed",
        ) from None


def read_old_promotion(model: Folder, path: str) -> Promotion | None:
    """One that is only history: for a damaged one nothing, and a warning in the log."""
    with contextlib.suppress(RegistryError):
        return read_promotion(model, path)
    logger.warning("%s is damaged, and left out of the history", model.shown(path))
    return None
