"""Several writers of one registry at once: one version a student, and a gate that nobody slips through."""

import json
import threading
from collections.abc import Callable

import pytest

from phreg.fingerprint import canonical_json
from phreg.registry import Entry, Registry, Verdict
from phreg.storage import Folder
from tests.registry.examples import FILES, DiesAt, Power, register

WRITERS = 6


def at_once(work: Callable[[int], None]) -> None:
    """`work(index)` in threads that start together; what one raises is raised."""
    barrier, errors = threading.Barrier(WRITERS), []

    def run(index: int) -> None:
        barrier.wait()
        try:
            work(index)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_different_students_get_different_versions(registry: Registry) -> None:
    entries: list[Entry] = []

    def write(index: int) -> None:
        files = FILES | {"model.safetensors": b"weights %d" % index}
        entries.append(register(registry, files=files, digest=f"d{index}"))

    at_once(write)
    assert sorted(entry.version for entry in entries) == list(range(1, WRITERS + 1))
    for entry in entries:
        stored = registry.entry("demo", entry.version)
        index = stored.record.student_digest.removeprefix("d")
        assert stored.read("model.safetensors") == f"weights {index}".encode()


def test_one_student_gets_one_version(registry: Registry) -> None:
    """Cards, figures and the last bits of the measures may differ between the writers."""
    entries: list[Entry] = []

    def write(index: int) -> None:
        files = FILES | {"README.md": b"card %d" % index}
        metrics = {"outlier_rate": 0.01 + index * 1e-15}
        entries.append(register(registry, files=files, metrics=metrics, lineage={"writer": index}))

    at_once(write)
    (stored,) = registry.entries()
    assert stored.version == 1
    assert entries == [stored] * WRITERS
    stored.verify()
    assert json.loads(stored.read("metrics.json"))["student"] == stored.metrics
    assert registry.folder.children("demo") == ["1"]


@pytest.mark.parametrize(
    "changes",
    [{"digest": "d2"}, {"benchmark": "b2"}, {"files": FILES | {"model.safetensors": b"other weights"}}],
)
def test_what_is_not_the_same_student_measured_on_the_same_gets_its_own_version(
    local: Registry, changes: dict
) -> None:
    with pytest.raises(Power):
        register(Registry(DiesAt(local.folder.url, {"under": "entry.json"})))
    assert register(local, **changes).version == 2
    assert register(local).version == 1


def test_a_file_damaged_before_the_registration_was_finished_is_put_again(local: Registry) -> None:
    with pytest.raises(Power):
        register(Registry(DiesAt(local.folder.url, {"under": "entry.json"})))
    for path in ("model.safetensors", "metrics.json", "curve.jsonl"):
        (local.folder.local_path / "demo" / "1" / path).write_bytes(b"rotten")
    entry = register(local)
    assert entry.version == 1
    entry.verify()
    assert entry.read("model.safetensors") == FILES["model.safetensors"]
    assert entry.read("curve.jsonl") == FILES["curve.jsonl"]
    assert json.loads(entry.read("metrics.json"))["benchmark"] == "b1"


def test_what_is_stored_already_is_not_sent_again(local: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor by an upload under a condition, which not every store has for large objects."""
    with pytest.raises(Power):
        register(Registry(DiesAt(local.folder.url, {"under": "entry.json"})))
    sent: list[str] = []
    for method in ("write", "create"):
        whole = getattr(Folder, method)

        def counted(self: Folder, path: str, data: bytes, whole: Callable = whole) -> object:
            sent.append(path)
            return whole(self, path, data)

        monkeypatch.setattr(Folder, method, counted)
    register(local).verify()
    assert not {"model.safetensors", "config.json", "curve.jsonl", "metrics.json"} & set(sent)
    assert "entry.json" in sent


def test_a_student_whose_version_was_damaged_gets_a_new_one(local: Registry) -> None:
    first = register(local)
    (first.folder.local_path / "model.safetensors").write_bytes(b"rotten")
    assert register(local).version == 2
    assert register(local).version == 2


@pytest.mark.parametrize("claim", [canonical_json({"claimed": "2025-01-01"}), b"{", b""])
def test_a_claim_that_says_not_for_whom_is_passed_over(local: Registry, claim: bytes) -> None:
    local.folder.create("demo/1/claim.json", claim)
    assert register(local).version == 2


def test_a_listing_that_is_out_of_date_does_no_harm(local: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    other, own = register(local, digest="d0"), register(local)
    monkeypatch.setattr(type(local.folder), "list", lambda self, under="": [])
    assert register(local) == own
    assert register(local, digest="d0") == other
    assert register(local, digest="d2").version == 3
    (own.folder.local_path / "model.safetensors").write_bytes(b"rotten")
    assert register(local).version == 4, "a damaged version is none to go on in"


def test_one_version_judged_by_all_at_once_is_promoted_once(registry: Registry) -> None:
    """A student that must beat the champion must not be held against itself."""
    entry = register(registry)

    def judge(champion: Entry | None) -> Verdict:
        return Verdict(champion is None, ("it is the first" if champion is None else "no better",))

    decisions = []
    at_once(lambda index: decisions.append(registry.decide(entry, "champion", judge)))
    assert {decision.promoted for decision in decisions} == {True}
    assert registry.decision(entry) in decisions
    assert registry.entry("demo", "champion") == entry
    assert len(registry.history("demo")) == 1


def test_students_judged_at_the_same_time_are_held_against_each_other(registry: Registry) -> None:
    """Whoever judged against a champion that is none any more judges again: the best one ends up with it."""
    measures = [0.5, 0.1, 0.3, 0.6, 0.2, 0.4]
    entries = [
        register(registry, digest=f"d{index}", metrics={"outlier_rate": value})
        for index, value in enumerate(measures)
    ]

    def decide(index: int) -> None:
        mine = measures[index]

        def judge(champion: Entry | None) -> Verdict:
            better = champion is None or mine < champion.metrics["outlier_rate"]
            return Verdict(better, (f"{mine}",))

        registry.decide(entries[index], "champion", judge)

    at_once(decide)
    assert registry.entry("demo", "champion").metrics == {"outlier_rate": 0.1}
    held = [item.version for item in registry.history("demo")]
    assert [measures[version - 1] for version in held] == sorted(
        (measures[version - 1] for version in held), reverse=True
    )
    for entry in entries:
        decision = registry.decision(entry)
        assert decision is not None
        assert decision.promoted == (entry.version in held)


def test_promotions_by_hand_at_once_all_stand_in_the_history(registry: Registry) -> None:
    register(registry)
    at_once(lambda index: registry.promote("demo", 1, "stable", f"hand {index}"))
    history = registry.history("demo")
    assert sorted(item.number for item in history) == list(range(1, WRITERS + 1))
    held = registry.alias("demo", "stable")
    assert held is not None
    assert held.number == WRITERS


def test_a_promotion_holds_though_the_alias_was_not_written(local: Registry) -> None:
    first, second = register(local, digest="d1"), register(local, digest="d2")
    local.promote("demo", first.version, "champion", "the first")
    with pytest.raises(Power):
        Registry(DiesAt(local.folder.url, {"under": "aliases/"})).promote("demo", 2, "champion", "the second")
    assert local.entry("demo", "champion") == second
    assert local.aliases("demo")["champion"].version == 2
    local.folder.remove("demo/aliases/champion.json")
    assert local.aliases("demo")["champion"].version == 2
    assert local.promote("demo", 1, "champion", "back").previous == 2
