"""Real networks, whole and finite, whose features are not on some images: these cost their samples alone."""

from pathlib import Path

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from phreg.cache.encodings import LARGEST, LAYOUTS
from phreg.data import Sample
from phreg.generate import ShardReport, compute_targets, crops_of
from phreg.models import load_teacher
from phreg.storage import Folder
from tests.faults.ledger import trial
from tests.generate.worlds import SIZE, World, make_world
from tests.helpers import jpeg_bytes, make_image, tiny_dinov2, write_tar

GROUP = "Numbers"
IMAGES, BAD = 6, "s3"
CHANNEL = 5
any_encoding = pytest.mark.parametrize("encoding", sorted(LAYOUTS))


def members() -> dict[str, bytes]:
    """Six images; the one with the key `BAD` is all red, as no other is."""
    images = {f"s{i}": make_image(i) for i in range(IMAGES)}
    images[BAD].paste((220, 0, 0), (0, 0, *images[BAD].size))
    return {key: jpeg_bytes(image) for key, image in images.items()}


def write(folder: Path, but: tuple[str, ...] = ()) -> str:
    """The shard `a`, without some samples."""
    kept = [(f"{key}.jpg", data) for key, data in members().items() if key not in but]
    return str(write_tar(folder / "a.tar", kept))


def inputs_of_the_last_mlp(world: World, keys: list[str]) -> torch.Tensor:
    """What it sees of these images, in all their views: [n, C]."""
    teacher, seen = load_teacher(world.teacher), []
    teacher.vit.blocks[-1].norm2.register_forward_hook(
        lambda module, given, out: seen.append(out.flatten(0, 1))
    )
    images = members()
    for key in keys:
        compute_targets(teacher, world.spec, crops_of(world.spec, "a", Sample(key, images[key])))
    return torch.cat(seen)


def explosive(folder: Path) -> VisionTransformer:
    """One hidden unit of the last MLP is silent on all images but the red one, where it overflows float32."""
    world = make_world(folder)
    others = inputs_of_the_last_mlp(world, [key for key in members() if key != BAD])
    red = inputs_of_the_last_mlp(world, [BAD])

    def gap(way: torch.Tensor) -> float:
        return float((red @ way).max() - (others @ way).max())

    way = max(red - others.mean(0), key=gap)
    threshold = float((others @ way).max()) + gap(way) / 2
    assert gap(way) > 0.1
    vit = tiny_dinov2(SIZE)
    with torch.no_grad():
        mlp = vit.blocks[-1].mlp
        mlp.fc1.weight[0] = 1e30 * way
        mlp.fc1.bias[0] = -1e30 * threshold
        mlp.fc2.weight[CHANNEL, 0] = 1e30
    return vit


def check_as_if_never_there(world: World, report: ShardReport, bad: tuple[str, ...], folder: Path) -> None:
    """The bad samples are named; the others' targets are those of a shard without them, bit for bit."""
    assert tuple(sample.key for sample in report.quarantined) == bad
    assert report.images == IMAGES - len(bad)
    assert world.store.read("a").features.non_finite_rows() == []
    elsewhere = world.with_cache(Folder(str(folder / "other-cache")))
    assert elsewhere.generator().generate(write(folder / "without", bad)).quarantined == ()
    assert world.store.records()["a"].data_digest == elsewhere.store.records()["a"].data_digest


@any_encoding
@pytest.mark.parametrize("images_per_forward", [1, 8])
def test_nan_on_one_image_costs_that_image(encoding: str, images_per_forward: int, tmp_path: Path) -> None:
    with trial(GROUP, "a teacher that gives NaN on one image of a batch") as this:
        world = make_world(tmp_path / "world", vit=explosive(tmp_path / "plain"), encoding=encoding)
        report = world.generator(images_per_forward=images_per_forward).generate(write(tmp_path))
        check_as_if_never_there(world, report, (BAD,), tmp_path)
        assert "NaN or Inf" in report.quarantined[0].reason
        this.lost = len(report.quarantined) - 1


def scaled(folder: Path, encoding: str, kept: int) -> tuple[VisionTransformer, list[str]]:
    """A huge weight in one channel: of the images, ordered by it, the `kept`-th is just below the largest
    value that the encoding takes; the rest is above."""
    vit = tiny_dinov2(SIZE)
    with torch.no_grad():
        vit.norm.weight[CHANNEL], vit.norm.bias[CHANNEL] = 1, 0
    world = make_world(folder, vit=vit, views=1)
    teacher, images = load_teacher(world.teacher), members()
    sizes = {
        key: float(compute_targets(teacher, world.spec, crops).features[..., CHANNEL].abs().max())
        for key in images
        for crops in [crops_of(world.spec, "a", Sample(key, images[key]))]
    }
    order = sorted(sizes, key=sizes.__getitem__)
    weight = LARGEST[encoding] / sizes[order[kept - 1]] * (1 - 1e-6)  # float32 rounds by less than that
    with torch.no_grad():
        vit.norm.weight[CHANNEL] = weight
    return vit, order


@any_encoding
@pytest.mark.parametrize("kept", [1, 4, IMAGES])
def test_values_past_the_largest_cost_their_images(encoding: str, kept: int, tmp_path: Path) -> None:
    vit, order = scaled(tmp_path / "plain", encoding, kept)
    with trial(GROUP, f"features just below and above what {encoding} holds") as this:
        world = make_world(tmp_path / "world", vit=vit, encoding=encoding, views=1)
        report = world.generator().generate(write(tmp_path))
        check_as_if_never_there(world, report, tuple(sorted(order[kept:])), tmp_path)
        this.lost = IMAGES - kept - len(report.quarantined)
        largest = world.store.read("a").features.decode()[..., CHANNEL].abs().max().item()
        assert 0.98 * LARGEST[encoding] < largest
        assert largest <= 1.02 * LARGEST[encoding]


def test_a_teacher_that_is_never_finite_commits_no_rows(tmp_path: Path) -> None:
    vit = tiny_dinov2(SIZE)
    with torch.no_grad():
        vit.norm.weight[:] = 3e38
    with trial(GROUP, "a teacher that is never finite"):
        world = make_world(tmp_path / "world", vit=vit, encoding="float32")
        report = world.generator().generate(write(tmp_path))
        assert (report.images, len(report.quarantined)) == (0, IMAGES)
        assert len(world.store.read("a")) == 0
