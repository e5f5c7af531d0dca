"""Held-out crops: joined with their targets by key, from shards that are what they were."""

from pathlib import Path

import pytest
import torch

from phreg.data import decode_image, read_shard
from phreg.errors import ContentMismatchError, MissingTargetsError, ObjectNotFoundError
from phreg.evaluate import held_out
from tests.evaluate.world import RULE, add_shard, crop_of, make_backbone, make_store
from tests.helpers import write_shard


def test_crops_and_targets_belong_together(tmp_path: Path) -> None:
    backbone = make_backbone()
    store = make_store(tmp_path, backbone)
    urls = [
        add_shard(tmp_path, store, backbone, 0, 3, without=(1,)),
        add_shard(tmp_path, store, backbone, 1, 3),
    ]
    found = held_out(store, urls, 4)
    assert found.keys == ("held-000000_0000", "held-000000_0002", "held-000001_0000", "held-000001_0001")
    assert found.targets is not None
    for i, key in enumerate(found.keys):
        url = urls[0] if "000000_" in key else urls[1]
        shard = read_shard(url)
        sample = next(sample for sample in shard.samples if sample.key == key)
        box = RULE.box(shard.name, key, 0, *decode_image(sample.image).size)
        assert (found.crops[i] == crop_of(url, key, box)).all()
        rows = store.read(shard.name)
        assert torch.equal(found.targets[i], rows.features[rows.row(key, 0)].decode()[0])


@pytest.mark.parametrize(("count", "images"), [(1, 1), (2, 2), (3, 3), (5, 5), (6, 5), (100, 5)])
def test_as_many_as_were_asked_for_or_there_are(tmp_path: Path, count: int, images: int) -> None:
    backbone = make_backbone()
    store = make_store(tmp_path, backbone)
    urls = [add_shard(tmp_path, store, backbone, index, 2 + index) for index in range(2)]
    found = held_out(store, urls, count)
    assert len(found) == len(found.crops) == images
    assert found.targets is not None
    assert found.targets.shape == (images, 16, 32)
    assert found.targets.dtype == torch.float32


def test_shards_that_are_not_needed_are_not_read(tmp_path: Path) -> None:
    backbone = make_backbone()
    store = make_store(tmp_path, backbone)
    first = add_shard(tmp_path, store, backbone, 0, 2)
    assert len(held_out(store, [first, str(tmp_path / "nowhere.tar")], 2)) == 2
    with pytest.raises(MissingTargetsError, match="nowhere"):
        held_out(store, [first, str(tmp_path / "nowhere.tar")], 3)


def test_a_shard_that_changed_is_refused(tmp_path: Path) -> None:
    backbone = make_backbone()
    store = make_store(tmp_path, backbone)
    url = add_shard(tmp_path, store, backbone, 0, 2)
    write_shard(Path(url), 2, seed=99)
    with pytest.raises(ContentMismatchError):
        held_out(store, [url], 2)
    Path(url).unlink()
    with pytest.raises(ObjectNotFoundError):
        held_out(store, [url], 2)


def test_no_held_out_image_at_all(tmp_path: Path) -> None:
    with pytest.raises(MissingTargetsError, match="no held-out images"):
        held_out(make_store(tmp_path, make_backbone()), [], 2)
