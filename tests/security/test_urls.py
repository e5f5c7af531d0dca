"""URLs of output and registry that carry a password: it is used, and neither stored nor shown."""

import json
from pathlib import Path

import pytest

from flows import artifacts
from phreg.cli import main
from phreg.cli.run import show_report
from phreg.distill.result import RESULT, StudentReport, finished_report
from phreg.distill.trainer import train_student
from phreg.evaluate import Evaluation
from phreg.pipeline.assess import Assessment
from phreg.pipeline.page import PageReport
from phreg.pipeline.register import MODEL_FILES, Registered
from phreg.pipeline.report import RunReport, StudentOutcome
from phreg.registry import Registry, lineage
from phreg.storage import Folder
from tests.config.test_config import minimal, written
from tests.distill.jobs import make_job
from tests.registry.examples import FILES, register
from tests.security.canaries import PASSWORD, leaks


@pytest.fixture
def place(tmp_path: Path) -> Folder:
    return Folder(f"memory://user:{PASSWORD}@host/{tmp_path.name}")


def stored(place: Folder) -> list[str]:
    return leaks((item.path, place.read(item.path)) for item in place.list())


def test_a_student_knows_where_it_is_and_its_record_does_not(
    tmp_path: Path, place: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    job, output = make_job(tmp_path, shards=1, images=2), place / "out"
    train_student(job, output)
    report, folder = finished_report(job, output), job.folder(output)
    assert report is not None
    assert report.url == folder.url
    assert PASSWORD in report.url
    assert not stored(place)
    for path in ("curve.jsonl", RESULT):
        folder.write(path, b"damaged")
        assert finished_report(job, output) is None
        assert f"{path} is damaged" in caplog.text
    assert not leaks([("log", caplog.text.encode())])


@pytest.fixture
def reported(tmp_path: Path, place: Folder) -> RunReport:
    """What a run reports of a student that it trained and registered."""
    trained = train_student(make_job(tmp_path, shards=1, images=2), place / "out")
    model = Folder(trained.url) / "model"
    origin = lineage(
        minimal() | {"output": place.url, "registry": f"{place.url}/registry"},
        student_digest=trained.digest,
        target_specs={},
        train_shards={},
        validation_shards={},
    )
    files = FILES | {name: model.read(name) for name in MODEL_FILES}
    entry = register(Registry(place / "registry"), files=files, lineage=origin)
    measured = Evaluation(metrics={}, images=1, benchmark="b", digest="d", seconds=1, forward_passes=1)
    return RunReport("tiny", {}, measured, (_outcome(trained, measured, entry.url),))


def _outcome(trained: StudentReport, measured: Evaluation, url: str) -> StudentOutcome:
    registered = Registered("a", "raw", 1, url, reused=False, promoted=True, reason="better")
    page = PageReport(f"{url}/report.html", reused=False)
    return StudentOutcome(trained, Assessment(measured, ("curve.png",), 0), registered, page)


def test_what_a_run_ends_with_holds_no_password(
    tmp_path: Path,
    place: Folder,
    reported: RunReport,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept: list[dict] = []
    for kind in ("image", "markdown", "table"):
        monkeypatch.setattr(artifacts, f"create_{kind}_artifact", lambda **fields: kept.append(fields))
    artifacts.publish(reported)
    show_report(reported, str(written(tmp_path / "run.yaml", minimal() | {"output": place.url})), [])
    registry = f"{place.url}/registry"
    assert main(["registry", "show", registry, "demo", "1"]) == 0
    assert main(["registry", "list", registry, "another"]) == 0
    shown = capsys.readouterr()
    assert "memory://***@host" in json.dumps(kept)
    assert shown.out.count("memory://***@host") > 5
    assert not stored(place)
    assert not leaks([("artifacts", json.dumps(kept).encode()), ("shown", str(shown).encode())])
