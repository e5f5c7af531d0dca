"""Times of a plan, from the rates of earlier runs."""

from pathlib import Path

import pytest

from phreg.cache import CommitRecord, TargetStore
from phreg.cli import main
from phreg.config.run import load_config
from phreg.models import load_teacher
from phreg.pipeline.plan import make_plan
from phreg.pipeline.prepare import target_specs
from phreg.pipeline.rates import known_rate, note_rate
from phreg.storage import Folder
from tests.cache.examples import SHARD_DIGEST, make_spec
from tests.small_run import write_config


def test_a_rate_is_that_of_the_last_run_with_the_same_network_and_device(tmp_path: Path) -> None:
    folder, spec = Folder(str(tmp_path)), make_spec()
    assert known_rate(folder, "targets", spec, 0) is None
    for work in (100, 30):
        note_rate(folder, "targets", spec, 0, work, 10.0)
    note_rate(folder, "targets", spec, 1, 500, 10.0)
    note_rate(folder, "students", spec, 0, 70, 10.0)
    assert known_rate(folder, "targets", spec, 0) == 3.0
    assert known_rate(folder, "targets", make_spec(views=7), 0) == 3.0  # a forward pass sees one view
    fitted = make_spec(denoiser={"method": "dvt", "views": 4, "max_shift": spec.max_shift})
    assert known_rate(folder, "targets", fitted, 0) is None  # beside its passes something is fitted
    assert known_rate(folder, "students", fitted, 0) == 7.0
    assert known_rate(folder, "targets", spec, 1) == 50.0
    assert known_rate(folder, "students", spec, 0) == 7.0
    assert known_rate(folder, "targets", make_spec(image_size=32), 0) is None


@pytest.mark.parametrize(("work", "seconds"), [(0, 1.0), (5, 0.0)])
def test_what_is_no_rate_is_not_kept(work: int, seconds: float, tmp_path: Path) -> None:
    note_rate(Folder(str(tmp_path)), "targets", make_spec(), 0, work, seconds)
    assert known_rate(Folder(str(tmp_path)), "targets", make_spec(), 0) is None


def test_a_damaged_rate_is_none(tmp_path: Path) -> None:
    note_rate(Folder(str(tmp_path)), "targets", make_spec(), 0, 5, 1.0)
    (path,) = (tmp_path / "rates").iterdir()
    path.write_bytes(path.read_bytes().replace(b'"work":5', b'"work":6'))
    assert known_rate(Folder(str(tmp_path)), "targets", make_spec(), 0) is None


def test_a_store_that_is_full_fails_no_run(tmp_path: Path) -> None:
    (tmp_path / "rates").write_bytes(b"a file where the folder would be")
    note_rate(Folder(str(tmp_path)), "targets", make_spec(), 0, 5, 1.0)


def test_a_plan_tells_times_and_gpu_hours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """12 images of 4 views on 3 of at most 8 actors, and 16 crops on 2 workers."""
    path = write_config(tmp_path)
    more = ["generation.max_actors=8", "generation.gpus_per_actor=0.5"]
    more += ["training.workers=2", "training.gpus_per_worker=0"]
    config = load_config(path, more)
    (spec,) = target_specs(config, load_teacher(config.teacher)).values()
    assert make_plan(config).targets[0].seconds is None
    assert main(["plan", str(path), "--set", *more]) == 0
    assert "at the rate of an earlier run" in capsys.readouterr().out
    note_rate(Folder(config.output), "targets", spec, 0.5, 1, 100.0)
    note_rate(Folder(config.output), "students", spec, 0, 1, 50.0)
    plan = make_plan(config)
    assert (plan.targets[0].seconds, plan.students[0].seconds) == (1600.0, 400.0)
    assert (plan.targets[0].gpu_hours, plan.students[0].gpu_hours) == (1600 * 1.5 / 3600, 0.0)
    assert main(["plan", str(path), "--set", *more]) == 0
    shown = capsys.readouterr().out
    assert "about 26:40" in shown
    assert "about 33:20 in all, as fast as the last run, 0.7 GPU hours\n" in shown
    assert main(["plan", str(path), "--set", *more, "prices.gpu_hour=3"]) == 0
    assert "0.7 GPU hours for 2.00\n" in capsys.readouterr().out


def test_a_plan_tells_what_all_targets_take_a_month(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also those that are made."""
    path = write_config(tmp_path)
    config = load_config(path)
    (spec,) = target_specs(config, load_teacher(config.teacher)).values()
    whole = make_plan(config).targets[0].cache_bytes
    record = CommitRecord.of("tiny-000", "0" * 12, SHARD_DIGEST, 4, (), {})
    TargetStore.create(Folder(config.cache_url), spec).folder.write("shards/tiny-000.json", record.to_json())
    (targets,) = make_plan(config).targets
    assert (targets.whole_bytes, targets.shards_done) == (whole, 1)
    assert targets.cache_bytes < whole
    assert main(["plan", str(path), "--set", "prices.gb_month=1000"]) == 0
    cost = f"{whole / 1e6:.2f}"
    assert f"of targets in the cache, all made, {cost} a month" in capsys.readouterr().out
