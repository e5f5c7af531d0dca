"""A bit flipped in what training and registering leave: found on read, named, and made or put back anew."""

import random
import shutil
from pathlib import Path

import pytest

from phreg.cli import main
from phreg.distill.checkpoint import checkpoint_steps
from phreg.distill.job import StudentJob
from phreg.distill.result import RESULT, finished_report
from phreg.distill.trainer import train_student
from phreg.errors import RegistryError
from phreg.models import load_backbone, load_student
from phreg.registry import Entry, Registry
from phreg.storage import Folder
from tests.distill.jobs import make_job
from tests.distill.test_trainer import Interrupted, interrupt_at, outcome
from tests.faults.flips import all_flips, flip
from tests.faults.ledger import trial
from tests.registry.examples import judged

STEPS = 8


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> StudentJob:
    kept = {"keep_checkpoints": True}
    return make_job(tmp_path_factory.mktemp("world"), shards=2, images=4, epochs=2, training=kept)


@pytest.fixture(scope="module")
def trained(job: StudentJob, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    output = Folder(str(tmp_path_factory.mktemp("output")))
    assert train_student(job, output).steps == STEPS
    return output


@pytest.fixture
def output(trained: Folder, tmp_path: Path) -> Folder:
    """A copy of OUTPUT with the finished student."""
    shutil.copytree(trained.local_path, tmp_path / "output")
    return Folder(str(tmp_path / "output"))


# Training


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("damaged", [1, 2])
def test_in_checkpoints(
    job: StudentJob,
    trained: Folder,
    tmp_path: Path,
    damaged: int,
    seed: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In the last: training goes on from the one before. In both: it begins anew. The end is the same."""
    output = Folder(str(tmp_path))
    with trial("flipped bit", f"{damaged} of 2 checkpoints", "steps") as this:
        with pytest.raises(Interrupted):
            train_student(job, output, on_progress=interrupt_at(7))
        steps = checkpoint_steps(job.folder(output))
        for step in steps[:damaged]:
            flip(job.folder(output), f"checkpoints/step-{step:09d}.ckpt", seed)
        report = train_student(job, output)
        assert f"step-{steps[0]:09d}.ckpt is damaged" in caplog.text
        assert report.resumed_from == (steps[1] if damaged == 1 else None)
        this.repeated = steps[0] - (report.resumed_from or 0)
        assert outcome(job, output) == outcome(job, trained)


@pytest.mark.parametrize("path", ["model/model.safetensors", "model/config.json", "curve.jsonl", RESULT])
def test_in_a_finished_student(
    job: StudentJob, trained: Folder, output: Folder, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with trial(
        "flipped bit", f"a finished student's {path.rpartition('/')[2]}, checkpoints kept", "steps"
    ) as this:
        this.rerun = True
        flip(job.folder(output), path, 0)
        assert finished_report(job, output) is None
        assert path in caplog.text
        report = train_student(job, output)
        assert not report.reused
        this.repeated = STEPS - (report.resumed_from or 0)
        assert this.repeated == 0
        assert outcome(job, output) == outcome(job, trained)
        assert finished_report(job, output) is not None


def test_every_bit_of_a_result_counts(job: StudentJob, trained: Folder, tmp_path: Path) -> None:
    """Each is found, or changes nothing that is read. (Some of them: each reads all files.)"""
    whole, folder = finished_report(job, trained), job.folder(trained)
    data = folder.read(RESULT)
    try:
        for damaged in random.Random(0).sample(list(all_flips(data)), 300):
            folder.write(RESULT, damaged)
            assert finished_report(job, trained) in (None, whole)
    finally:
        folder.write(RESULT, data)


# The registry


@pytest.fixture
def registry(output: Folder) -> Registry:
    return Registry(output / "registry")


def registered(registry: Registry, job: StudentJob, output: Folder) -> Entry:
    """As a run registers: with its files from OUTPUT, held against the gate."""
    source = job.folder(output)
    files = {name: source.read(f"model/{name}") for name in ("config.json", "model.safetensors")}
    entry = registry.register(
        "demo",
        files | {"curve.jsonl": source.read("curve.jsonl"), "README.md": b"# demo"},
        student="one",
        student_digest=job.digest,
        metrics={"outlier_rate": 0.25},
        teacher_metrics={"outlier_rate": 0.5},
        lineage={"student_digest": job.digest},
        benchmark="b",
    )
    registry.decide(entry, "champion", judged(True, "better"))
    return entry


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_in_a_registered_model(
    job: StudentJob,
    output: Folder,
    registry: Registry,
    name: str,
    seed: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    entry = registered(registry, job, output)
    with trial("flipped bit", f"a registered {name}", "files") as this:
        this.rerun = True
        flip(entry.folder, name, seed)
        for load in (load_student, lambda url: load_backbone(f"local-dir:{url}")):
            with pytest.raises(RegistryError, match=rf"1/{name} is not what was registered"):
                load(entry.url)
        assert main(["registry", "verify", registry.folder.url]) == 1
        assert f"1/{name}" in capsys.readouterr().out
        main(["registry", "verify", registry.folder.url, "--heal"])
        assert "put back from" in capsys.readouterr().out
        assert main(["registry", "verify", registry.folder.url]) == 0
        load_student(entry.url)
        entry.verify()


def test_a_registered_model_without_a_copy_is_registered_anew(
    job: StudentJob, output: Folder, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = registered(registry, job, output)
    flip(entry.folder, "model.safetensors", 0)
    job.folder(output).remove("model/model.safetensors")
    assert main(["registry", "verify", registry.folder.url, "--heal"]) == 1
    assert "1 damaged, 0 of them healed" in capsys.readouterr().out
    train_student(job, output)
    assert registered(registry, job, output).version == 2


def test_in_an_entry(
    job: StudentJob, output: Folder, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = registered(registry, job, output)
    with trial("flipped bit", "a registered entry.json", "files") as this:
        this.rerun = True
        flip(entry.folder, "entry.json", 1)
        with pytest.raises(RegistryError, match=r"1/entry[.]json"):
            registry.entry("demo", 1)
        assert main(["registry", "verify", registry.folder.url, "demo", "--heal"]) == 1
        assert "1/entry.json" in capsys.readouterr().out
        again = registered(registry, job, output)
        assert (again.version, again.record.files) == (1, entry.record.files)
        assert main(["registry", "verify", registry.folder.url]) == 0


@pytest.mark.parametrize("path", ["1/decision.json", "aliases/champion.json", "promotions/champion/1.json"])
def test_in_a_decision_or_promotion(
    job: StudentJob, output: Folder, registry: Registry, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = registered(registry, job, output)
    champion, folder = registry.alias("demo", "champion"), registry.folder / "demo"
    with trial("flipped bit", path.replace("/1.json", ""), "files") as this:
        this.rerun = True
        whole = folder.read(path)
        for damaged in random.Random(0).sample(list(all_flips(whole)), 100):
            folder.write(path, damaged)
            assert main(["registry", "verify", registry.folder.url]) == 1
            assert path in capsys.readouterr().out
        main(["registry", "verify", registry.folder.url, "--heal"])
        assert main(["registry", "verify", registry.folder.url]) == 0
        decided = registry.decide(entry, "champion", judged(True, "better"))
        assert decided.promoted
        assert registry.alias("demo", "champion") == champion
        assert path == "1/decision.json" or folder.read(path) == whole
