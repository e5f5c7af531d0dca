"""`phreg run` as a user runs it: a process of its own, a real Prefect server, a real Ray, real storage."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import phreg
from phreg.config.run import load_config
from phreg.device import choose, gpus_here
from phreg.models import timm_snippet
from phreg.registry import Registry
from phreg.storage import Folder
from tests.faults.flips import flip
from tests.faults.ledger import trial
from tests.faults.runs import outcome
from tests.helpers import jpeg_bytes, make_image, write_tar
from tests.prefect_homes import prefect_home, server_url
from tests.small_run import make_config, write_config

PHREG = [sys.executable, "-c", "import sys; from phreg.cli import main; sys.exit(main())"]


NO_RAY = {"RAY_ADDRESS": "127.0.0.1:9"}  # whoever connects is refused


def phreg_command(
    *arguments: str, home: Path, variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    prefect = {"PREFECT_HOME": prefect_home(home), "PREFECT_API_URL": server_url()}
    environment = os.environ | prefect | {"DO_NOT_TRACK": "1"} | (variables or {})
    return subprocess.run(
        [*PHREG, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        cwd=home,
        timeout=400,
        check=False,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """One run with two students, on the local disk."""
    folder = tmp_path_factory.mktemp("run")
    students = [
        {"name": "one", "targets": "denoised", "registers": 2, "batch_size": 4, "epochs": 2},
        {"name": "raw", "targets": "raw", "registers": 2, "batch_size": 4, "epochs": 1},
    ]
    path = write_config(folder, students=students, targets={"denoised": {"views": 4}, "raw": {"views": 1}})
    return path, phreg_command("run", str(path), home=folder)


def test_run_ends_with_table_figures_and_loading_lines(finished: tuple) -> None:
    _, run = finished
    assert run.returncode == 0, run.stderr[-3000:]
    assert re.search(r"teacher +│ +\d", run.stdout)
    assert re.search(r"one +│ +\d", run.stdout)
    assert "targets denoised: 3 shards made, 0 reused" in run.stdout
    assert f"device: {choose('auto', gpus_here)}" in " ".join(run.stderr.split())
    assert len(list((finished[0].parent / "run" / "rates").iterdir())) == 2  # of targets, and of students
    assert re.search(r"teacher forward passes: [1-9]", run.stdout)
    figures = re.findall(r"^  (\S+\.png)$", run.stdout, re.MULTILINE)
    assert len(figures) == 4
    assert all(Path(figure).read_bytes().startswith(b"\x89PNG") for figure in figures)
    pages = re.findall(r"^report: (\S+)$", run.stdout, re.MULTILINE)
    assert len(pages) == 2
    assert all("</html>" in Path(page).read_text() for page in pages)
    lines = run.stdout[run.stdout.index("import timm") :].split("\n\n")[0]
    assert len(lines.strip().splitlines()) == 3
    scope: dict = {"images": torch.randn(1, 3, 64, 64)}
    exec(lines, scope)
    assert scope["features"].shape == (1, 64, 32)


def test_run_again_reuses_everything_and_starts_no_ray(finished: tuple) -> None:
    path, _ = finished
    again = phreg_command("run", str(path), "--set", "device=cpu", home=path.parent, variables=NO_RAY)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "targets denoised: 0 shards made, 3 reused" in again.stdout
    assert "targets raw: 0 shards made, 3 reused" in again.stdout
    assert "student one: reused; version 1 reused" in again.stdout
    assert "teacher forward passes: 0\n" in again.stdout
    assert len(Registry(Folder(load_config(path).registry_url)).entries("tiny")) == 2


def test_a_run_whose_cluster_is_not_there_ends_as_one_that_could_not_start(finished: tuple) -> None:
    path, _ = finished
    more = ["--set", "device=cpu", "evaluation.shifts=3"]
    run = phreg_command("run", str(path), *more, home=path.parent, variables=NO_RAY)
    assert run.returncode == 2
    assert "no Ray cluster at 127.0.0.1:9" in run.stderr
    assert "evaluate-teacher" in run.stderr  # with other shifts there is something to measure


def test_registered_student_is_the_trained_one(finished: tuple) -> None:
    path, _ = finished
    config = load_config(path)
    registry = Registry(Folder(config.registry_url))
    entry = registry.entry("tiny", 1)
    entry.verify()
    student = phreg.load_student(entry.url)
    images = torch.randn(1, 3, 64, 64)
    scope: dict = {"images": images}
    exec(timm_snippet(student, entry.url), scope)
    expected = student(images).flatten(2).transpose(1, 2)
    torch.testing.assert_close(scope["features"], expected, rtol=0, atol=1e-5)
    lineage = json.loads(entry.read("lineage.json"))
    assert set(lineage["target_specs"]) == {"denoised", "raw"}
    assert set(lineage["train_shards"]) == {"tiny-000", "tiny-001"}
    assert set(lineage["validation_shards"]) == {"tiny-002"}
    assert registry.decision(entry) is not None


def test_cache_commands(finished: tuple) -> None:
    path, _ = finished
    cache = load_config(path).cache_url
    verified = phreg_command("cache", "verify", cache, home=path.parent)
    assert verified.returncode == 0
    assert verified.stdout.count("sound") == 2
    digest = next(name for name, spec in phreg.open_cache(cache).specs().items() if spec.views == 4)
    live = phreg_command(
        "cache", "verify", cache, digest[:8], "--config", str(path), "--samples", "5", home=path.parent
    )
    assert live.returncode == 0, live.stderr
    assert "5 targets recomputed" in live.stdout


def test_damaged_targets_are_named_and_made_anew(finished: tuple, tmp_path: Path) -> None:
    """Flipped bits in a record, a training shard and a held-out one; the same command needs no help."""
    path, _ = finished
    there, output = load_config(path), f"output={tmp_path}/run"
    shutil.copytree(there.cache_url, tmp_path / "run" / "cache")
    cache = phreg.open_cache(f"{tmp_path}/run/cache")
    store = cache.store(next(digest for digest, spec in cache.specs().items() if spec.views == 4))
    damaged = ["shards/tiny-000.json"]
    for shard in ("tiny-001", "tiny-002"):
        record = store.record(shard)
        assert record is not None
        damaged.append(f"{record.folder}/features/c/0/0/0")
    with trial("flipped bit", "a record and two shards under a run") as this:
        for place in damaged:
            flip(store.folder, place, 0)
        run = phreg_command("run", str(path), "--set", output, home=path.parent)
        assert run.returncode == 0, run.stderr[-3000:]
        assert all(place in run.stdout + run.stderr for place in damaged)
        assert "targets denoised: 1 shards made, 2 reused" in run.stdout
        before, after = outcome(path), outcome(path, output)
        assert after.cache == before.cache
        assert after.students == before.students
        this.repeated = len(damaged)


def test_clip_on_s3_with_broken_images(tmp_path: Path, s3_folder: Folder) -> None:
    """Shards, cache and registry in a bucket; a CLIP teacher under naclip; quarantine within the limit."""
    config = make_config(tmp_path, "clip")
    members = [(f"k{i}.jpg", jpeg_bytes(make_image(i))) for i in range(4)]
    write_tar(
        tmp_path / "shards" / "tiny-001.tar",
        [*members, ("bad.jpg", b"<html>"), ("half.jpg", members[0][1][:200])],
    )
    shards = s3_folder / "shards"
    for tar in sorted((tmp_path / "shards").glob("*.tar")):
        shards.write(tar.name, tar.read_bytes())
    path = write_config(
        tmp_path,
        "clip",
        images=shards.url_of("tiny-00[01].tar"),
        validation=shards.url_of("tiny-002.tar"),
        output=s3_folder.url_of("run"),
        teacher=config["teacher"] | {"read_out": "naclip"},
        max_quarantined=0.2,
    )
    run = phreg_command("run", str(path), home=tmp_path)
    assert run.returncode == 0, run.stderr[-3000:]
    assert "3 shards made, 0 reused, 2 samples quarantined" in run.stdout
    student = phreg.load_student((s3_folder / "run/registry/tiny/1").url)
    assert student.read_out == "value"
    assert student(torch.randn(1, 3, 64, 64)).shape == (1, 16, 8, 8)
    registry = Registry(s3_folder / "run/registry")
    decision = registry.decision(registry.entry("tiny", 1))
    assert decision is not None
    assert "target_cosine_p50: not held against the teacher's" in " ".join(decision.reasons)
    page = s3_folder.read("run/registry/tiny/1/report.html")
    assert f"report: {s3_folder.url_of('run/registry/tiny/1/report.html')}\n" in run.stdout
    assert page.count(b"<img ") == 5
    stored = b"".join(s3_folder.read(item.path) for item in s3_folder.list("run"))
    assert b"canary" not in stored


@pytest.mark.slow
def test_a_shard_that_cannot_be_read_does_not_keep_the_others(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    tar = tmp_path / "shards" / "tiny-001.tar"
    whole = tar.read_bytes()
    tar.write_bytes(whole[: len(whole) // 2])
    run = phreg_command("targets", str(path), home=tmp_path)
    assert run.returncode == 1
    assert "tiny-001" in run.stderr
    assert "Traceback" not in run.stderr
    records = sorted(file.name for file in (tmp_path / "run" / "cache").glob("*/shards/*.json"))
    assert records == ["tiny-000.json", "tiny-002.json"]
    tar.write_bytes(whole)
    alone = ["--set", "device=cpu"]
    early = phreg_command("distil", str(path), *alone, home=tmp_path, variables=NO_RAY)
    assert early.returncode == 1
    assert "tiny-001 has no committed targets 'denoised'" in early.stderr
    assert not (tmp_path / "run" / "registry").exists()
    mended = phreg_command("run", str(path), home=tmp_path)
    assert mended.returncode == 0, mended.stderr[-3000:]
    assert "1 shards made, 2 reused" in mended.stdout
    judged = phreg_command("evaluate", str(path), *alone, home=tmp_path, variables=NO_RAY)
    assert judged.returncode == 0, judged.stderr[-3000:]
    assert "student one: reused; version 1 reused" in judged.stdout


@pytest.mark.slow
def test_students_of_the_same_batches_share_a_worker_and_fail_alone(tmp_path: Path) -> None:
    """The third learns nothing finite: it is named, and the others are what they are one after the other."""
    student = {"targets": "denoised", "batch_size": 4, "epochs": 2}
    students: list[dict] = [
        {"name": "one", "registers": 2, **student},
        {"name": "two", "registers": 4, **student},
        {"name": "wild", "learning_rate": 1e30, "final_learning_rate": 1e30, **student},
    ]
    training = {"parallel_students": 1, "max_skipped_steps": 1}
    path = write_config(tmp_path, students=students, training=training)
    shared = phreg_command("run", str(path), home=tmp_path)
    assert shared.returncode == 1
    assert "trained from the same batches: one, two, wild" in " ".join(shared.stderr.split())
    assert re.search(r"wild: The loss .*not finite", shared.stderr)
    assert "1 parts of the run" in shared.stderr
    apart = f"output={tmp_path}/apart"
    phreg_command("run", str(path), "--set", apart, "training.students_per_worker=1", home=tmp_path)
    assert outcome(path).students == outcome(path, apart).students
    assert len(outcome(path).students) == 4
