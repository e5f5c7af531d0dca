"""What the doctor finds, sound and not."""

from importlib import metadata
from pathlib import Path

import pytest

from phreg.pipeline import doctor
from phreg.pipeline.doctor import NOTE, OK, WRONG, examine
from phreg.storage import Creation, Folder


def states(findings: list[doctor.Finding]) -> dict[str, str]:
    return {finding.check: finding.state for finding in findings}


def test_a_sound_installation_and_folder_are_left_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine").write_bytes(b"x")
    for folder in (tmp_path / "runs", tmp_path / "new"):
        found = examine(str(folder), "local")
        assert WRONG not in states(found).values()
        assert states(found)["storage"] == states(found)["creation"] == OK
    assert [path.name for path in tmp_path.rglob("*")] == ["runs", "mine"]


def test_a_bucket_is_left_as_it_was_but_for_the_question_of_creation(s3_folder: Folder) -> None:
    found = examine(s3_folder.url)
    assert states(found)["storage"] == states(found)["creation"] == OK
    assert s3_folder.list() == []


def test_packages_that_do_not_fit_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = ["rich>=999", "no-such-package>=1", "numpy>=1", "absent==1; extra == 'dev'", "ray[train]==2.0"]
    monkeypatch.setattr(metadata, "requires", lambda name: needed)
    found = doctor.packages()
    assert found.state == WRONG
    assert "rich is " in found.found
    assert "no-such-package is missing" in found.found
    assert "ray is 2.60.0, not ==2.0" in found.found
    assert "numpy" not in found.found
    assert "absent" not in found.found


def test_a_store_that_cannot_be_written_is_told_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"in the way")
    (found,) = doctor.storage(str(tmp_path / "file" / "runs"))
    assert (found.check, found.state) == ("storage", WRONG)
    assert str(tmp_path) in found.found
    assert found.remedy


def test_a_store_that_loses_bytes_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Folder, "read", lambda self, path: b"zeros")
    assert states(doctor.storage(str(tmp_path)))["storage"] == WRONG
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_replaces_what_is_there_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Folder, "creation", property(lambda self: Creation.REPLACED))
    found = doctor.storage(str(tmp_path))[1]
    assert (found.check, found.state) == ("creation", NOTE)
    assert "one run at a time" in found.remedy


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:10001"])
def test_a_cluster_that_is_not_there(address: str) -> None:
    found = doctor.ray_cluster(address)
    assert found.state == WRONG
    assert address in found.found
    assert found.remedy
