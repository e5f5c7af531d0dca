"""The gate's decision on a version, recorded beside it: `<model>/<version>/decision.json`."""

from collections.abc import Callable
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, ValidationError

from phreg.errors import ObjectNotFoundError, RegistryError
from phreg.registry import promotion as promotions
from phreg.registry.gate import Verdict
from phreg.registry.promotion import Promotion
from phreg.storage import Folder
from phreg.storage.checksummed import from_checksummed_json, to_checksummed_json

DECISION_FILE = "decision.json"


class Decision(BaseModel):
    """What the gate said about a version, and which alias was at stake. `decided_at` is UTC, ISO 8601.

    `number` is that of the promotion that makes it true; refusals have none.
    `provisional`: a refusal for want of measures on a labelled set; the next run judges again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    alias: str
    promoted: bool
    reasons: tuple[str, ...]
    decided_at: str
    number: int | None = None
    provisional: bool | None = None


def decide(model: Folder, version: int, alias: str, judge: Callable[[Promotion | None], Verdict]) -> Decision:
    """The decision on a version for an alias: the one on record, unless that is provisional, else `judge`'s
    on who holds the alias.

    It is recorded before the alias moves. If another version got the alias while this one was judged, it
    is judged again, against that one. A version that holds the alias already is judged as if none did.
    """
    while True:
        held = promotions.current(model, alias)
        recorded = decision_on(model, version)  # after `held`: who promoted this version had recorded it
        if recorded is not None and recorded.alias == alias and not recorded.provisional:
            return recorded
        holds = held is not None and held.version == version
        verdict = judge(None if holds else held)
        number = held.number if held is not None and holds else promotions.following(held)
        decision = Decision(
            alias=alias,
            promoted=verdict.promoted,
            reasons=verdict.reasons,
            decided_at=datetime.now(UTC).isoformat(timespec="seconds"),
            number=number if verdict.promoted else None,
            provisional=verdict.provisional or None,
        )
        model.write(
            f"{version}/{DECISION_FILE}",
            to_checksummed_json(decision.model_dump(mode="json", exclude_none=True)),
        )
        if not verdict.promoted or holds or promotions.point(model, alias, version, verdict.reason, held):
            return decision


def decision_on(model: Folder, version: int) -> Decision | None:
    """The decision on a version; None if there is none, or if it was interrupted before it took effect."""
    decision = recorded(model, version)
    if decision is None or (decision.promoted and not _took_effect(model, version, decision)):
        return None
    return decision


def recorded(model: Folder, version: int) -> Decision | None:
    """The decision as it is stored. Raises `RegistryError` for a damaged one."""
    path = f"{version}/{DECISION_FILE}"
    try:
        return Decision.model_validate(from_checksummed_json(model.read(path)))
    except ObjectNotFoundError:
        return None
    except ValueError as error:
        raise RegistryError(
            f"Cannot read the decision {model.url_of(path)}",
            found=error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error),
            remedy="remove it; the next run decides again",
        ) from None


def _took_effect(model: Folder, version: int, decision: Decision) -> bool:
    """Whether the version was given the alias by this decision; the alias may have moved on since."""
    if decision.number is None:
        return False
    promotion = promotions.of_number(model, decision.alias, decision.number)
    return promotion is not None and promotion.version == version
