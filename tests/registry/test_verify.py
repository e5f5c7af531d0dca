"""`verify`: what is damaged is named, what can be known is put back, and no version is lost by healing."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from phreg.cli import main
from phreg.errors import RegistryError
from phreg.fingerprint import canonical_json, digest_json
from phreg.registry import Entry, Registry, Verification, verify
from phreg.storage import Folder
from tests.registry.examples import FILES, DiesAt, Power, register

ROTTEN = b'{"rotten"'


def check(registry: Registry, heal: bool = False) -> Verification:
    return verify(registry, Folder("memory://no-students"), heal=heal)


def found(done: Verification) -> list[str]:
    return [damage.url.partition("/demo/")[2] for damage in done.damages]


@pytest.fixture
def entry(local: Registry) -> Entry:
    """A champion."""
    made = register(local)
    local.promote("demo", 1, "champion", "by hand")
    return made


def test_it_says_how_much_was_read(local: Registry, entry: Entry) -> None:
    done = check(local)
    assert (done.versions, done.files, done.damages) == (1, len(FILES) + 2, [])


@pytest.mark.parametrize("damage", [ROTTEN, b"", b'"outlier_rate":0.02'])
def test_a_damaged_record_is_made_again_from_its_claim(local: Registry, entry: Entry, damage: bytes) -> None:
    whole = entry.folder.read("entry.json")
    data = whole.replace(b'"outlier_rate":0.01', damage) if damage.startswith(b'"') else damage
    entry.folder.write("entry.json", data)
    entry.folder.write("report.html", b"made afterwards")
    entry.folder.write("report/a.png", b"made afterwards")
    assert found(check(local)) == ["1/entry.json", "aliases/champion.json"]
    assert [damage.healed[:10] for damage in check(local, heal=True).damages] == ["made again"]
    assert entry.folder.read("entry.json") == whole
    assert found(check(local)) == []


def old_claim(folder: Folder) -> None:
    folder.write("claim.json", canonical_json({"claimed": "2025-01-01"}))


def rotten(path: str) -> Callable[[Folder], None]:
    return lambda folder: folder.write(path, ROTTEN)


@pytest.mark.parametrize(
    "also",
    [old_claim, rotten("claim.json"), lambda folder: folder.remove("claim.json")]
    + [rotten(path) for path in ("model.safetensors", "config.json", "curve.jsonl", "metrics.json")]
    + [lambda folder: folder.remove("lineage.json")],
)
def test_one_that_cannot_be_made_again_stays_where_it_is(
    local: Registry, entry: Entry, also: Callable[[Folder], None]
) -> None:
    entry.folder.write("entry.json", ROTTEN)
    also(entry.folder)
    for _ in range(2):
        done = check(local, heal=True)
        assert found(done) == ["1/entry.json", "aliases/champion.json"]
        assert [damage.healed for damage in done.damages] == ["", ""]
        assert "what to do" in done.damages[0].problem
    assert entry.folder.read("entry.json") == ROTTEN


def test_a_record_of_a_later_format_is_left_alone(local: Registry, entry: Entry) -> None:
    fields = json.loads(entry.folder.read("entry.json")) | {"format_version": 2, "more": 1}
    del fields["digest"]
    later = canonical_json(fields | {"digest": digest_json(fields)})
    entry.folder.write("entry.json", later)
    done = check(local, heal=True)
    assert not any(damage.healed for damage in done.damages)
    assert "found: one of format 2" in done.damages[0].problem
    assert "newer phreg" in done.damages[0].problem
    assert entry.folder.read("entry.json") == later


def test_an_alias_of_what_is_not_there_is_named(local: Registry, entry: Entry) -> None:
    with pytest.raises(Power):
        register(Registry(DiesAt(local.folder.url, {"under": "entry.json"})), digest="d2")
    assert found(check(local)) == [], "an interrupted registration is no damage"
    entry.folder.remove("entry.json")
    done = check(local, heal=True)
    assert found(done) == ["aliases/champion.json"]
    assert "champion of demo points at version 1" in done.damages[0].problem
    assert "promote another version" in done.damages[0].problem


def test_measures_are_put_back_from_the_record(local: Registry, entry: Entry) -> None:
    whole = entry.folder.read("metrics.json")
    entry.folder.write("metrics.json", ROTTEN)
    assert [damage.healed for damage in check(local, heal=True).damages] == ["put back from entry.json"]
    assert entry.folder.read("metrics.json") == whole
    assert found(check(local)) == []


def test_the_command_says_what_it_read(
    local: Registry, entry: Entry, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["registry", "verify", local.folder.url]) == 0
    assert "sound; versions read: 1, their files: 7" in capsys.readouterr().out
    (entry.folder.local_path / "README.md").unlink()
    assert main(["registry", "verify", local.folder.url, "demo"]) == 1
    assert "1 damaged, 0 of them healed; versions read: 1" in capsys.readouterr().out


def test_the_command_does_not_call_nothing_sound(
    local: Registry, entry: Entry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["registry", "verify", local.folder.url, "dmeo"]) == 1
    assert "nothing is registered as dmeo" in capsys.readouterr().out
    (tmp_path / "empty" / "model").mkdir(parents=True)
    assert main(["registry", "verify", str(tmp_path / "empty")]) == 1
    assert "nothing is registered in" in capsys.readouterr().out
    with pytest.raises(RegistryError):
        verify(local, local.folder, "../demo")
