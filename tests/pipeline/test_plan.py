from pathlib import Path

import pytest

from phreg.cache import TargetStore
from phreg.config.run import load_config
from phreg.data import measure_shard
from phreg.distill.memory import BATCHES
from phreg.errors import ConfigError
from phreg.generate import TargetGenerator, target_spec
from phreg.models import load_teacher
from phreg.pipeline.plan import make_plan
from phreg.storage import Folder
from tests.small_run import write_config


def test_a_plan_counts_whole_batches_of_all_workers(tmp_path: Path) -> None:
    path = write_config(tmp_path)  # 2 training shards of 4 images, batches of 4, 2 epochs
    for workers, steps in ((1, 4), (2, 2)):
        student = make_plan(load_config(path, [f"training.workers={workers}"])).students[0]
        assert (student.steps, student.crops) == (steps, 16)


def test_a_plan_is_refused_as_the_run_would_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot share 8 crops"):
        make_plan(load_config(write_config(tmp_path), ["training.workers=3"]))


def test_a_plan_tells_the_memory_of_a_worker(tmp_path: Path) -> None:
    """Shards of 4 images at 64 pixels: an 8 x 8 grid of 32 channels as float16, and the images."""
    path = write_config(tmp_path)
    images = [measure_shard(f"{tmp_path}/shards/tiny-{i:03d}.tar").image_bytes for i in range(2)]
    features, pixels = 4 * 64 * 32 * 2, 4 * 3 * 64 * 64
    held, held_out = 2 * features + sum(images), features + pixels
    for together in (1, 4):  # there are no more than two
        student = make_plan(load_config(path, [f"training.shuffle_shards={together}"])).students[0]
        assert student.memory_bytes == held + 2 * features + BATCHES * (features + pixels) + held_out


def test_a_damaged_record_is_no_reason_not_to_plan(tmp_path: Path) -> None:
    """The run makes that shard anew."""
    config = load_config(write_config(tmp_path))
    teacher = load_teacher(config.teacher)
    spec = target_spec(teacher, config.teacher, config.targets["denoised"], config.seed)
    store = TargetStore.create(Folder(config.cache_url), spec)
    generator = TargetGenerator(lambda: teacher, store)
    for shard in ("tiny-000", "tiny-001", "tiny-002"):
        generator.generate(f"{tmp_path}/shards/{shard}.tar")
    assert make_plan(config).targets[0].shards_done == 3
    (record,) = (path for path in (tmp_path / "run/cache").rglob("*.json") if "tiny-001" in path.name)
    record.write_bytes(record.read_bytes()[:-20])
    assert not make_plan(config).students[0].done
