"""Versions: claimed once, visible only when whole, verified when read; aliases and their history."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phreg.errors import RegistryError, StorageError
from phreg.registry import Registry
from phreg.storage import Folder
from tests.registry.examples import FILES, DiesAt, Power, judged, register


def test_what_is_registered_is_read_back(registry: Registry) -> None:
    entry = register(registry)
    again = registry.entry("demo", 1)
    assert again == entry
    assert again.record.student == "reg16"
    assert again.metrics == {"outlier_rate": 0.01}
    assert {path: again.read(path) for path in FILES} == FILES
    assert json.loads(again.read("metrics.json")) == {
        "student": {"outlier_rate": 0.01},
        "teacher": {"outlier_rate": 0.05},
        "benchmark": "b1",
    }
    assert json.loads(again.read("lineage.json")) == {"student_digest": "d1"}
    assert Folder(again.url).read("config.json") == b"{}"
    again.verify()


def test_versions_count_up_for_each_model(registry: Registry) -> None:
    assert registry.entries() == []
    assert registry.models() == []
    made = [("a", "d1"), ("b", "d1"), ("a", "d2"), ("a", "d3")]
    numbers = [register(registry, name, digest).version for name, digest in made]
    assert numbers == [1, 1, 2, 3]
    assert registry.models() == ["a", "b"]
    assert [(e.model, e.version) for e in registry.entries()] == [("a", 1), ("a", 2), ("a", 3), ("b", 1)]
    assert [e.version for e in registry.entries("a")] == [1, 2, 3]
    assert registry.entries("c") == []


def test_versions_are_ordered_as_numbers(local: Registry) -> None:
    for index in range(11):
        register(local, digest=f"d{index}")
    assert [entry.version for entry in local.entries("demo")] == list(range(1, 12))


def test_a_model_name_that_starts_as_another_keeps_to_itself(registry: Registry) -> None:
    register(registry, "demo-large")
    assert registry.entries("demo") == []
    assert register(registry, "demo").version == 1


@pytest.mark.parametrize("under", ["model.safetensors", "metrics.json", "entry.json"])
def test_an_interrupted_registration_is_invisible_and_its_number_is_kept_for_it(
    local: Registry, under: str
) -> None:
    register(local)
    with pytest.raises(Power):
        register(Registry(DiesAt(local.folder.url, {"under": under})), digest="d2")
    assert local.folder.exists("demo/2/config.json"), "the registration was under way"
    assert [entry.version for entry in local.entries()] == [1]
    assert local.find("demo", "d2") is None
    with pytest.raises(RegistryError, match="no complete version 2"):
        local.entry("demo", 2)
    with pytest.raises(RegistryError, match="no complete version 2"):
        local.promote("demo", 2, "champion", "by hand")
    assert register(local, digest="d3").version == 3
    again = register(local, digest="d2")
    assert again.version == 2
    again.verify()


@pytest.mark.parametrize("path", [*FILES, "metrics.json", "lineage.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "grow", "remove"])
def test_an_altered_file_is_found_and_named(local: Registry, path: str, damage: str) -> None:
    entry = register(local)
    file = entry.folder.local_path / path
    data = file.read_bytes()
    changed = {"flip": bytes([*data[:-1], data[-1] ^ 1]), "cut": data[:-1], "grow": data + b"\0"}
    if damage == "remove":
        file.unlink()
    else:
        file.write_bytes(changed[damage])
    with pytest.raises(RegistryError, match=path) as caught:
        entry.verify()
    assert caught.value.remedy
    for other in set(entry.record.files) - {path}:
        entry.read(other)


@pytest.mark.parametrize(
    ("old", "new"), [(b"0.01", b"0.00"), (b'"reg16"', b'"reg17"'), (b"}", b""), (b'"created"', b'"made"')]
)
def test_an_altered_record_is_found(local: Registry, old: bytes, new: bytes) -> None:
    entry = register(local)
    file = entry.folder.local_path / "entry.json"
    data = file.read_bytes()
    assert old in data
    file.write_bytes(data.replace(old, new))
    with pytest.raises(RegistryError, match=r"entry\.json"):
        local.entries()


def test_an_entry_in_the_wrong_folder_is_found(local: Registry) -> None:
    entry = register(local)
    entry.folder.local_path.rename(entry.folder.local_path.parent / "7")
    with pytest.raises(RegistryError, match="wrong folder"):
        local.entries("demo")


def test_a_file_that_is_not_of_the_entry_is_refused(local: Registry) -> None:
    entry = register(local)
    (entry.folder.local_path / "extra").write_bytes(b"x")
    with pytest.raises(RegistryError, match="no file 'extra'"):
        entry.read("extra")


def test_find_gives_the_newest_version_of_a_student(local: Registry) -> None:
    for digest, weights in (("d1", b"a"), ("d2", b"b"), ("d1", b"c")):
        register(local, digest=digest, files=FILES | {"model.safetensors": weights})
    found = local.find("demo", "d1")
    assert found is not None
    assert found.version == 3
    assert local.find("demo", "d3") is None
    assert local.find("other", "d1") is None


def test_aliases_move_and_their_history_stays(registry: Registry) -> None:
    for digest in ("d1", "d2"):
        register(registry, digest=digest)
    assert registry.alias("demo", "champion") is None
    with pytest.raises(RegistryError, match="no alias 'champion'"):
        registry.entry("demo", "champion")
    first = registry.promote("demo", 1, "champion", "it is the first")
    second = registry.promote("demo", 2, "champion", "0.9 beats 0.8")
    third = registry.promote("demo", 1, "stable", "by hand")
    assert registry.entry("demo", "champion").version == 2
    assert registry.entry("demo", "stable").version == 1
    assert registry.aliases("demo") == {"champion": second, "stable": third}
    assert registry.history("demo") == (first, second, third)
    assert (first.previous, second.previous, third.previous) == (None, 1, None)
    assert second.reason == "0.9 beats 0.8"


def test_promoting_what_is_not_there_says_what_is(local: Registry) -> None:
    register(local)
    with pytest.raises(RegistryError, match=r"one of \[1\]"):
        local.promote("demo", 4, "champion", "")
    with pytest.raises(RegistryError, match="a registered model"):
        local.promote("other", 1, "champion", "")
    assert local.history("demo") == ()


def test_a_decision_is_recorded_and_a_promotion_takes_effect(registry: Registry) -> None:
    first, second = register(registry, digest="d1"), register(registry, digest="d2")
    assert registry.decision(first) is None
    made = registry.decide(first, "champion", judged(True, "a", "b"))
    refused = registry.decide(second, "champion", judged(False, "c"))
    assert registry.decision(first) == made
    assert registry.decision(second) == refused
    assert made.reasons == ("a", "b")
    assert registry.entry("demo", "champion").version == 1
    assert [item.reason for item in registry.history("demo")] == ["a; b"]
    assert registry.decide(second, "champion", judged(True, "d")) == refused, "it is decided once"
    registry.promote("demo", 2, "champion", "by hand")
    assert registry.decision(first) == made, "a later promotion does not undo the decision"


def test_a_decision_whose_promotion_was_interrupted_is_taken_again(local: Registry) -> None:
    entry = register(local)
    dying = Registry(DiesAt(local.folder.url, {"under": "promotions/"}))
    with pytest.raises(Power):
        dying.decide(entry, "champion", judged(True, "good"))
    assert local.alias("demo", "champion") is None
    assert local.decision(entry) is None
    decision = local.decide(entry, "champion", judged(True, "better"))
    assert decision.reasons == ("better",)
    assert local.decision(entry) == decision
    assert local.entry("demo", "champion") == entry


def test_a_damaged_decision_is_named(local: Registry) -> None:
    entry = register(local)
    local.decide(entry, "champion", judged(False, "bad"))
    (entry.folder.local_path / "decision.json").write_bytes(b"{")
    with pytest.raises(RegistryError, match=r"decision\.json"):
        local.decision(entry)


BAD_NAMES = ["", ".", "..", "../x", "a/b", "/a", "a\\b", "-a", "a b", "a\n", "a\0b", "é", "x" * 101]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_cannot_leave_the_registry(local: Registry, name: str) -> None:
    register(local)
    for attempt in (
        lambda: register(local, name),
        lambda: local.entries(name),
        lambda: local.entry(name, 1),
        lambda: local.entry("demo", name),
        lambda: local.alias("demo", name),
        lambda: local.promote("demo", 1, name, ""),
        lambda: register(local, files=FILES | {f"{name}/../x": b""}),
    ):
        with pytest.raises(RegistryError):
            attempt()
    assert local.folder.list("demo/2") == []


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=20))
def test_any_text_is_a_safe_alias_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    local = Registry(Folder(str(tmp_path_factory.getbasetemp() / "aliases" / "registry")))
    try:
        assert local.alias("demo", text) is None
    except RegistryError:
        assert not text.isalnum() or not text.isascii() or text.isdigit()


def test_an_alias_cannot_look_like_a_version(local: Registry) -> None:
    register(local)
    with pytest.raises(RegistryError, match="not only digits"):
        local.promote("demo", 1, "2", "")


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"config.json": b""},
        FILES | {"entry.json": b"{}"},
        FILES | {"metrics.json": b"{}"},
        FILES | {"../../escape": b""},
        FILES | {"/tmp/escape": b""},
    ],
)
def test_files_that_make_no_entry_are_refused_before_anything_is_written(
    local: Registry, files: dict[str, bytes]
) -> None:
    with pytest.raises(RegistryError):
        register(local, files=files)
    assert local.folder.list() == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_metrics_that_are_not_finite_are_refused(local: Registry, value: float) -> None:
    with pytest.raises(RegistryError, match="finite"):
        register(local, metrics={"outlier_rate": value})
    assert local.folder.list() == []


def test_a_missing_bucket_is_named(s3_folder: Folder) -> None:
    with pytest.raises(StorageError, match="phreg-no-such-bucket"):
        register(Registry(Folder("s3://phreg-no-such-bucket/registry")))
