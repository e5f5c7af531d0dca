"""When work is done again because targets were damaged, and when not. (Making them anew: tests/flows.)"""

from typing import Any

import pytest

from phreg.errors import CacheError, CorruptTargetsError, MissingTargetsError
from phreg.pipeline import heal
from phreg.types import Damage

Kind = type[CorruptTargetsError] | type[MissingTargetsError]
NO_RUN: Any = None  # only `remake` looks at it


def failing(*errors: CacheError) -> Any:
    """Work that raises one error after the other, and then ends."""
    left = list(errors)

    def work() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return work


def damaged(shard: str, kind: Kind = CorruptTargetsError, attempt: str | None = "a") -> CacheError:
    error = kind(f"{shard} is damaged")
    error.damage = Damage("spec", shard, attempt)
    return error


@pytest.fixture
def remade(monkeypatch: pytest.MonkeyPatch) -> list[Damage]:
    """What was made anew; shards of other runs are not."""
    found: list[Damage] = []

    def remake(config: Any, prepared: Any, damage: Damage) -> bool:
        found.append(damage)
        return not damage.shard.startswith("foreign")

    monkeypatch.setattr(heal, "remake", remake)
    return found


def test_each_damaged_shard_is_told_made_anew_and_the_work_done_again(remade: list[Damage]) -> None:
    errors = [damaged("s-0"), damaged("s-1", MissingTargetsError, None), damaged("s-2")]
    told: list[CacheError] = []
    assert heal.on_sound_targets(NO_RUN, NO_RUN, failing(*errors), told.append) == "done"
    assert told == errors
    assert [damage.shard for damage in remade] == ["s-0", "s-1", "s-2"]


@pytest.mark.parametrize(
    ("errors", "times"),
    [
        ([damaged("s-0"), damaged("s-0", attempt="b")], 1),
        ([damaged("s-0"), damaged("s-0", MissingTargetsError, None)], 1),
        ([damaged("foreign-0")], 1),
        ([CorruptTargetsError("no shard is named")], 0),
        ([MissingTargetsError("nothing was ever made")], 0),
        ([CacheError("another matter")], 0),
    ],
)
def test_what_does_not_help_is_not_repeated(
    remade: list[Damage], errors: list[CacheError], times: int
) -> None:
    with pytest.raises(CacheError) as caught:
        heal.on_sound_targets(NO_RUN, NO_RUN, failing(*errors))
    assert caught.value is errors[-1]
    assert len(remade) == times
