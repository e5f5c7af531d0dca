import numpy as np

from phreg.config.labels import LabelledSetConfig
from phreg.data import decode_image, read_shard
from phreg.demo.world.classes import CLASSES
from phreg.demo.world.clip_data import _with_margin, pairs
from phreg.demo.world.scenes import draw_scene
from phreg.demo.world.write import shard_bytes, write_label_folder
from phreg.evaluate.datasets import open_set
from phreg.storage import Folder


def test_a_shard_holds_the_scenes(tmp_path) -> None:
    (tmp_path / "a-000000.tar").write_bytes(shard_bytes(0, range(3, 6), 48))
    shard = read_shard(str(tmp_path / "a-000000.tar"))
    assert [sample.key for sample in shard.samples] == ["scene-000003", "scene-000004", "scene-000005"]
    assert (np.asarray(decode_image(shard.samples[1].image)) == draw_scene(0, 4, 48).image).all()
    assert shard_bytes(0, range(3, 6), 48) == shard_bytes(0, range(3, 6), 48)


def test_a_label_folder_reads_back_exactly(tmp_path) -> None:
    write_label_folder(Folder(str(tmp_path)), 0, range(2), 48)
    labelled = open_set(LabelledSetConfig(kind="folder", root=str(tmp_path)))
    assert len(labelled) == 2
    assert labelled.classes == CLASSES
    assert labelled.background is None
    item, scene = labelled[1], draw_scene(0, 1, 48)
    assert (item.image == scene.image).all()
    assert (item.labels == scene.labels).all()
    np.testing.assert_allclose(item.depth, scene.depth, atol=6e-4)


def test_fewer_scenes_than_a_batch_make_smaller_batches() -> None:
    scenes = [draw_scene(0, index) for index in range(3)]
    images, texts = next(pairs(scenes, 0, 256, 64))
    assert len(images) == len(texts) == 3


def test_training_pairs_depend_on_the_seed_alone() -> None:
    scenes = [draw_scene(1, index) for index in range(6)]
    batches = [next(pairs(scenes, seed, 4, 64)) for seed in (0, 0, 1)]
    assert batches[0][0].shape == (4, 3, 64, 64)
    assert (batches[0][0] == batches[1][0]).all()
    assert batches[0][1] == batches[1][1]
    assert batches[0][1] != batches[2][1]


def test_a_margin_is_white_and_what_is_moved_out_is_not_in_view() -> None:
    rng = np.random.default_rng(0)
    pixels = np.repeat(np.arange(16, dtype=np.uint8)[:, None], 16, 1)[..., None].repeat(3, 2)
    for _ in range(20):
        page, instances = _with_margin(rng, pixels, pixels[..., 0])
        kept = page[(page != 255).all(-1)]
        assert set(kept[:, 0]) == set(np.unique(instances))
        assert len(kept) == instances.size
