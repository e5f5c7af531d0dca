"""How far a generator says it is while it works."""

from pathlib import Path

import pytest
import torch

from phreg.generate import GeneratorProgress, ShardProgress, compute_targets
from phreg.progress import tell
from tests.generate.worlds import make_world
from tests.helpers import jpeg_bytes, make_image, write_tar


@pytest.mark.parametrize("crops_per_image", [1, 2])
def test_images_are_counted_one_by_one_within_a_batch(
    crops_per_image: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unreadable ones too, and none twice when a batch turns out to be too large."""
    world = make_world(tmp_path, crops_per_image=crops_per_image)
    members = [(f"s{i}.jpg", jpeg_bytes(make_image(i)) if i else b"no image") for i in range(7)]
    url = str(write_tar(tmp_path / "a.tar", members))
    generator = world.generator(images_per_forward=4)
    seen: list[GeneratorProgress] = []
    attempts: list[int] = []

    def told(*what: object) -> None:
        tell(*what)
        seen.append(generator.progress())

    def compute(teacher, spec, crops):
        attempts.append(len(crops))
        targets = compute_targets(teacher, spec, crops)
        if len(attempts) == 2:  # after its last image was told
            raise torch.OutOfMemoryError("CUDA out of memory")
        return targets

    monkeypatch.setattr("phreg.generate.teacher.tell", told)
    monkeypatch.setattr("phreg.generate.generator.compute_targets", compute)
    assert generator.progress() == GeneratorProgress(0)
    generator.generate(url)
    shards = [shard for progress in seen for shard in progress.shards]
    assert {(shard.url, shard.doing, shard.total) for shard in shards} == {(url, "computing", 7)}
    assert {shard.images for shard in shards} >= {2, 3, 4, 5, 6, 7}
    assert max(shard.images for shard in shards) == shards[-1].images == 7
    steps = [progress.steps for progress in seen]
    assert steps == sorted(set(steps))
    assert generator.progress().shards == ()


def test_what_is_told_does_not_change_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(tmp_path)
    generator = world.generator()
    seen: list[GeneratorProgress] = []
    monkeypatch.setattr(
        "phreg.generate.generator.version_of", lambda url: seen.append(generator.progress()) or 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        generator.generate("a.tar")
    assert seen[0].shards == (ShardProgress("a.tar"),)
    assert generator.progress().shards == ()
