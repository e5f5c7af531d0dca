"""Numbered promotions with gaps and damage: the last one holds, and no number is given twice."""

import pytest

from phreg.errors import RegistryError
from phreg.registry import Entry, Registry, Verdict, verify
from phreg.storage import Folder
from phreg.storage.checksummed import to_checksummed_json
from tests.registry.examples import DiesAt, Power, judged, register

COPY = "demo/aliases/champion.json"
ROTTEN = b"rotten"


def numbered(number: int) -> str:
    return f"demo/promotions/champion/{number}.json"


@pytest.fixture
def promoted(registry: Registry) -> Registry:
    """Versions 1 to 3 were champions, one after the other."""
    for version in (1, 2, 3):
        register(registry, digest=f"d{version}")
        registry.promote("demo", version, "champion", f"reason {version}")
    return registry


def held(registry: Registry) -> int | None:
    promotion = registry.alias("demo", "champion")
    return promotion.version if promotion else None


def heal(registry: Registry) -> None:
    damages = verify(registry, Folder("memory://no-students"), heal=True).damages
    assert damages
    assert all(damage.healed for damage in damages)


def test_a_gap_changes_no_champion(promoted: Registry) -> None:
    promoted.folder.remove(numbered(2))
    assert held(promoted) == 3
    promoted.folder.write(COPY, ROTTEN)
    assert held(promoted) == 3
    heal(promoted)
    assert held(promoted) == 3
    assert promoted.promote("demo", 1, "champion", "back").number == 4
    promoted.folder.remove(COPY)
    assert held(promoted) == 1
    assert [item.number for item in promoted.history("demo")] == [1, 3, 4]


def test_a_listing_that_is_out_of_date_hides_no_promotion(
    promoted: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = promoted.history("demo")[0]
    promoted.folder.write(COPY, first.to_bytes())  # of a writer that was slow
    whole = Folder.list
    monkeypatch.setattr(Folder, "list", lambda self, under="": whole(self, under)[:1])
    assert held(promoted) == 3
    assert promoted.promote("demo", 2, "champion", "back").number == 4


def test_a_damaged_old_promotion_is_left_out(promoted: Registry, caplog: pytest.LogCaptureFixture) -> None:
    promoted.folder.write(numbered(2), ROTTEN)
    assert [item.version for item in promoted.history("demo")] == [1, 3]
    assert "champion/2.json is damaged" in caplog.text
    assert held(promoted) == 3
    assert promoted.promote("demo", 1, "champion", "back").number == 4


def test_a_damaged_last_promotion_is_named_and_the_next_takes_its_place(promoted: Registry) -> None:
    promoted.folder.write(numbered(3), ROTTEN)
    assert [item.version for item in promoted.history("demo")] == [1, 2, 3], "its copy is whole"
    promoted.folder.write(COPY, ROTTEN)
    for read in (promoted.alias, promoted.entry):
        with pytest.raises(RegistryError, match=r"champion/3[.]json") as caught:
            read("demo", "champion")
    assert "next number" in caught.value.remedy
    promotion = promoted.promote("demo", 2, "champion", "back")
    assert (promotion.number, promotion.previous) == (4, None)
    assert held(promoted) == 2
    assert [item.number for item in promoted.history("demo")] == [1, 2, 4]


def test_a_promotion_under_anothers_number_is_damaged(promoted: Registry) -> None:
    second = promoted.history("demo")[1]
    promoted.folder.write(numbered(4), second.to_bytes())
    with pytest.raises(RegistryError, match="promotion 2 of champion"):
        promoted.alias("demo", "champion")
    assert promoted.promote("demo", 1, "champion", "back").number == 5
    promoted.folder.write(COPY, to_checksummed_json(second.model_dump(mode="json") | {"alias": "other"}))
    assert held(promoted) == 1


def test_an_earlier_promotion_by_hand_makes_no_lost_race_a_promotion(promoted: Registry) -> None:
    """Version 1 is judged against 3; meanwhile 2 gets the alias. It was champion once, long ago."""
    asked: list[int] = []

    def judge(champion: Entry | None) -> Verdict:
        assert champion is not None
        asked.append(champion.version)
        if len(asked) == 1:
            promoted.promote("demo", 2, "champion", "meanwhile")
        return Verdict(champion.version == 3, (f"against {champion.version}",))

    decision = promoted.decide(promoted.entry("demo", 1), "champion", judge)
    assert asked == [3, 2]
    assert not decision.promoted
    assert held(promoted) == 2


def test_an_earlier_promotion_by_hand_does_not_complete_an_interrupted_one(local: Registry) -> None:
    first, second = register(local, digest="d1"), register(local, digest="d2")
    for entry in (first, second):
        local.promote("demo", entry.version, "champion", "by hand")
    with pytest.raises(Power):
        Registry(DiesAt(local.folder.url, {"under": "promotions/"})).decide(
            first, "champion", judged(True, "a")
        )
    assert local.decision(first) is None
    decision = local.decide(first, "champion", judged(True, "b"))
    assert (decision.reasons, decision.number) == (("b",), 3)
    assert local.decision(first) == decision
    local.promote("demo", 2, "champion", "by hand")
    assert local.decision(first) == decision


def test_a_version_that_holds_the_alias_is_judged_once(local: Registry) -> None:
    entry = register(local)
    local.promote("demo", 1, "champion", "by hand")
    decision = local.decide(entry, "champion", judged(True, "good"))
    assert decision.number == 1
    assert local.decide(entry, "champion", judged(False, "bad")) == decision


def test_a_refusal_for_want_of_measures_is_judged_again(registry: Registry) -> None:
    entry = register(registry)
    first = registry.decide(entry, "champion", lambda _: Verdict(False, ("not there",), provisional=True))
    assert not first.promoted
    assert registry.decision(entry) == first
    again = registry.decide(entry, "champion", judged(True, "better"))
    assert again.promoted
    assert held(registry) == 1
    assert registry.decide(entry, "champion", judged(False, "worse")) == again
