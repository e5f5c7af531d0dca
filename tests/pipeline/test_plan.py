from pathlib import Path

import pytest

from phreg.config.run import load_config
from phreg.data import measure_shard
from phreg.distill.memory import BATCHES
from phreg.errors import ConfigError
from phreg.pipeline.plan import make_plan
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
