"""The gate's decision on a version, recorded beside it: `<model>/<version>/decision.json`."""

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, ValidationError

from phreg.errors import ObjectNotFoundError, RegistryError
from phreg.fingerprint import canonical_json
from phreg.registry import promotion as promotions
from phreg.registry.gate import Verdict
from phreg.storage import Folder

DECISION_FILE = "decision.json"


class Decision(BaseModel):
    """What the gate said about a version, and which alias was at stake. `decided_at` is UTC, ISO 8601."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alias: str
    promoted: bool
    reasons: tuple[str, ...]
    decided_at: str


def decide(model: Folder, version: int, alias: str, verdict: Verdict) -> Decision:
    """Record a verdict, then let it take effect: the decision is written before the alias moves."""
    decision = Decision(
        alias=alias,
        promoted=verdict.promoted,
        reasons=verdict.reasons,
        decided_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    model.write(f"{version}/{DECISION_FILE}", canonical_json(decision.model_dump(mode="json")))
    if verdict.promoted:
        promotions.point(model, alias, version, verdict.reason)
    return decision


def decision_on(model: Folder, version: int) -> Decision | None:
    """The decision on a version; None if there is none, or if it was interrupted before it took effect."""
    path = f"{version}/{DECISION_FILE}"
    try:
        decision = Decision.model_validate_json(model.read(path))
    except ObjectNotFoundError:
        return None
    except ValidationError as error:
        raise RegistryError(
            f"Cannot read the decision {model.url_of(path)}",
            found=str(error.errors()[0]["msg"]),
            remedy="remove it; the next run decides again",
        ) from None
    return decision if not decision.promoted or _took_effect(model, version, decision.alias) else None


def _took_effect(model: Folder, version: int, alias: str) -> bool:
    """Whether the promotion is in the history, and the alias was moved there or on from there."""
    versions = [item.version for item in promotions.history(model) if item.alias == alias]
    if version not in versions:
        return False
    held = promotions.current(model, alias)
    return versions[-1] != version or (held is not None and held.version == version)
