"""A shard to its committed targets, without a cluster."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from phreg.data import read_shard
from phreg.errors import ConfigError, ContentMismatchError, ObjectNotFoundError, ShardError, SpecMismatchError
from phreg.generate import TargetGenerator, compute_targets, crops_of
from phreg.method.denoising import denoise, denoise_with_variance
from phreg.method.views import Views
from phreg.models import load_backbone, load_teacher
from phreg.storage import Folder, read_url
from tests.generate.worlds import SIZE, World, make_world
from tests.helpers import jpeg_bytes, make_image, tiny_dinov2, write_shard, write_tar


def no_teacher():
    raise AssertionError("the teacher was loaded")


def digests(world: World) -> dict[str, str]:
    return {name: record.data_digest for name, record in world.store.records().items()}


def test_targets_are_the_denoised_features_of_the_crops(tmp_path: Path) -> None:
    world = make_world(tmp_path, encoding="float32", crops_per_image=2)
    url = str(write_shard(tmp_path / "a.tar", 3))
    report = world.generator().generate(url)
    assert (report.shard, report.images, report.crops, report.forward_passes) == ("a", 3, 6, 24)
    assert not report.reused
    assert report.bytes == world.store.record("a").bytes
    rows, shard, teacher = world.store.read("a"), read_shard(url), load_teacher(world.teacher)
    assert rows.keys == [sample.key for sample in shard.samples for _ in range(2)]
    features = rows.features.decode()
    for sample in shard.samples:
        for crop in crops_of(world.spec, "a", sample):
            row = rows.row(sample.key, crop.index)
            views = Views(rows.views[row, :, :2], rows.views[row, :, 2])
            images = teacher.normalize(torch.from_numpy(crop.pixels)[None])
            expected = denoise(teacher, images, views)[0].flatten(1).T
            torch.testing.assert_close(features[row], expected)
            assert tuple(rows.boxes[row]) == crop.box


def test_targets_depend_on_nothing_but_spec_and_shard(tmp_path: Path) -> None:
    """Not on the batch, the order of shards, the run, the decoders, or who else works beside."""
    world = make_world(tmp_path, crops_per_image=2)
    urls = [str(write_shard(tmp_path / f"s{i}.tar", 5, seed=i)) for i in range(3)]
    worlds = [world.with_cache(Folder(str(tmp_path / f"cache{i}"))) for i in range(4)]
    for url in urls:
        worlds[0].generator(images_per_forward=1).generate(url)
    generator = worlds[1].generator(images_per_forward=7, decode_threads=3)
    for url in reversed(urls):
        generator.generate(url)
    for url in urls:
        torch.manual_seed(7)
        np.random.seed(7)
        worlds[2].generator(images_per_forward=4).generate(url)
    shared = worlds[3].generator()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(shared.generate, urls))
    first = digests(worlds[0])
    assert len(set(first.values())) == 3
    assert all(digests(other) == first for other in worlds[1:])


def test_a_committed_shard_is_reused_without_a_teacher(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    members = [("good.jpg", jpeg_bytes(make_image())), ("bad.jpg", b"no image")]
    url = str(write_tar(tmp_path / "a.tar", members))
    made = world.generator().generate(url)
    reused = TargetGenerator(no_teacher, world.store).generate(url)
    assert reused.reused
    assert reused.forward_passes == 0
    assert (reused.images, reused.quarantined, reused.bytes) == (1, made.quarantined, made.bytes)


def test_a_committed_shard_is_read_again_only_if_its_store_says_that_it_changed(
    tmp_path: Path, s3_folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(tmp_path)
    read: list[str] = []
    monkeypatch.setattr(
        "phreg.generate.generator.read_shard", lambda url: (read.append(url), read_shard(url))[1]
    )
    local = write_shard(tmp_path / "a.tar", 2)
    s3_folder.write("b.tar", write_shard(tmp_path / "b.tar", 2, seed=1).read_bytes())
    for url, put in (
        (str(local), local.write_bytes),
        (s3_folder.url_of("b.tar"), lambda data: s3_folder.write("b.tar", data)),
    ):
        generate = TargetGenerator(partial(load_teacher, world.teacher), world.store).generate
        assert not generate(url).reused
        assert generate(url).reused
        assert read == [url]
        data = read_url(url)
        put(data)  # the same once more: S3's tag is of the content, a file's time is not
        assert generate(url).reused
        put(data[:600] + bytes([data[600] ^ 1]) + data[601:])  # in the first image
        with pytest.raises(ContentMismatchError):
            generate(url)
        assert len(read) == (2 if url.startswith("s3:") else 3)
        read.clear()


def test_a_corrupt_image_is_quarantined_with_its_reason(tmp_path: Path) -> None:
    world = make_world(tmp_path, crops_per_image=2)
    whole = write_shard(tmp_path / "whole" / "a.tar", 4)
    members = [(f"{sample.key}.jpg", sample.image) for sample in read_shard(str(whole)).samples]
    members[1] = (members[1][0], members[1][1][:300])
    members.append(("words.txt", b"a lone caption"))
    report = world.generator().generate(str(write_tar(tmp_path / "a.tar", members)))
    assert [sample.key for sample in report.quarantined] == ["words", "a_0001"]
    assert all(sample.reason for sample in report.quarantined)
    assert (report.images, report.crops) == (3, 6)
    assert world.store.record("a").quarantined == report.quarantined
    elsewhere = world.with_cache(Folder(str(tmp_path / "other")))
    elsewhere.generator().generate(str(whole))
    theirs = elsewhere.store.read("a")
    rows = world.store.read("a")
    kept = [theirs.row(key, crop) for key, crop in zip(rows.keys, rows.crops.tolist(), strict=True)]
    assert torch.equal(rows.features.decode(), theirs.features[kept].decode())  # the others lose nothing


class Poisoned(torch.nn.Module):
    """The tiny teacher's final norm, with NaN or huge features for crops of one colour (all red)."""

    def __init__(self, norm: torch.nn.Module, value: float) -> None:
        super().__init__()
        self.norm, self.value, self.red = norm, value, None

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        out = self.norm(tokens)
        close = (out - self.red).abs().amax((1, 2)) < 1e-3
        return torch.where(close[:, None, None], self.value, out)


def poisoned(world: World, value: float):
    """A loader of a teacher whose features go wrong on an all-red image, view 0 included."""

    def load():
        teacher = load_teacher(world.teacher)
        poison = Poisoned(teacher.vit.norm, value)
        red = torch.zeros(1, SIZE, SIZE, 3, dtype=torch.uint8)
        red[..., 0] = 200
        teacher.weights_digest = lambda: world.spec.teacher.weights  # the same network, but for the poison
        with torch.no_grad():
            teacher.vit.norm = Recorder(teacher.vit.norm)
            teacher(teacher.normalize(red))
            poison.red = teacher.vit.norm.seen
        teacher.vit.norm = poison
        return teacher

    return load


class Recorder(torch.nn.Module):
    def __init__(self, norm: torch.nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        self.seen = self.norm(tokens)
        return self.seen


@pytest.mark.parametrize(
    ("value", "encoding", "reason"),
    [(float("nan"), "float16", "NaN"), (float("inf"), "int8", "NaN or Inf"), (1e6, "float16", "float16")],
)
@pytest.mark.parametrize("images_per_forward", [1, 8])
def test_features_that_cannot_be_stored_quarantine_their_sample_only(
    tmp_path: Path, value: float, encoding: str, reason: str, images_per_forward: int
) -> None:
    world = make_world(tmp_path, encoding=encoding)
    red = make_image(0).convert("L").convert("RGB")
    red.paste((200, 0, 0), (0, 0, *red.size))
    members = [(f"s{i}.png", png_bytes(make_image(i))) for i in range(4)]
    members[2] = ("s2.png", png_bytes(red))
    url = str(write_tar(tmp_path / "a.tar", members))
    generator = TargetGenerator(poisoned(world, value), world.store, images_per_forward=images_per_forward)
    report = generator.generate(url)
    assert [sample.key for sample in report.quarantined] == ["s2"]
    assert reason in report.quarantined[0].reason
    assert world.store.read("a").keys == ["s0", "s1", "s3"]
    assert np.isfinite(world.store.read("a").features.decode().numpy()).all()


def png_bytes(image) -> bytes:
    import io

    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def test_targets_say_how_sure_they_are_where_it_is_asked_for(tmp_path: Path) -> None:
    """Their features are, byte for byte, those of targets that do not."""
    plain, world = make_world(tmp_path / "plain"), make_world(tmp_path, variance=True, crops_per_image=1)
    shard = read_shard(str(write_shard(tmp_path / "a.tar", 3)))
    for each in (plain, world):
        assert each.generator(images_per_forward=2).generate(shard.url).forward_passes == 12
    rows, teacher = world.store.read("a"), load_teacher(world.teacher)
    for name, array in plain.store.read("a").features.arrays.items():
        assert np.array_equal(rows.features.arrays[name], array)
    for row, sample in enumerate(shard.samples):
        crop = crops_of(world.spec, "a", sample)[0]
        images = teacher.normalize(torch.from_numpy(crop.pixels[None]))
        _, variance = denoise_with_variance(teacher, images, crop.views, method=world.spec.denoised_by)
        assert rows.features[row].variance().equal(variance.flatten(1))


def test_a_batch_too_large_for_the_gpu_is_halved_and_those_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """There is no GPU here: the error is raised where torch would raise it."""
    sizes, room, full = [], 2, 0

    def compute(teacher, spec, crops):
        sizes.append(len(crops))
        if len(crops) > (0 if len(sizes) <= full else room):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")
        return compute_targets(teacher, spec, crops)

    world = make_world(tmp_path)
    urls = [str(write_shard(tmp_path / f"s{i}.tar", 9, seed=i)) for i in range(2)]
    alone = world.with_cache(Folder(str(tmp_path / "alone")))
    expected = [alone.generator().generate(url) for url in urls]
    monkeypatch.setattr("phreg.generate.generator.compute_targets", compute)
    generator = world.generator(images_per_forward=8)
    reports = [generator.generate(url) for url in urls]
    assert sizes == [8, 4, 2, 2, 2, 2, 1, *[2, 2, 2, 2, 1]]
    assert digests(world) == digests(alone)
    assert [each.forward_passes for each in reports] == [each.forward_passes for each in expected]
    assert "too little GPU memory for 8 images, now 4: CUDA out of memory" in caplog.text
    monkeypatch.setattr("phreg.generate.generator.OUT_OF_MEMORY_WAIT_S", 0.0)
    room = 0
    third = str(write_shard(tmp_path / "s2.tar", 1))
    with pytest.raises(ConfigError, match=r"too little memory for one image with 4 views(?s:.)*20 GiB"):
        generator.generate(third)
    assert sizes[-4:] == [1, 1, 1, 1]
    generator, room, full = world.generator(), 2, len(sizes) + 2  # somebody else's work, which ends
    assert generator.generate(third).images == 1


def test_a_shard_without_one_good_image_commits_no_rows(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    url = str(write_tar(tmp_path / "a.tar", [("x.jpg", b"no"), ("y.jpg", b"no")]))
    report = world.generator().generate(url)
    assert (report.images, report.crops, len(report.quarantined)) == (0, 0, 2)
    assert len(world.store.read("a")) == 0


def test_another_content_under_a_committed_name_is_refused(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    world.generator().generate(str(write_shard(tmp_path / "a.tar", 2, seed=0)))
    before = digests(world)
    other = str(write_shard(tmp_path / "changed" / "a.tar", 2, seed=1))
    with pytest.raises(ContentMismatchError, match="'a'"):
        TargetGenerator(no_teacher, world.store).generate(other)
    assert digests(world) == before


def test_a_failure_commits_nothing(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    good = write_shard(tmp_path / "good.tar", 2)
    cut_short = tmp_path / "short.tar"
    cut_short.write_bytes(good.read_bytes()[:2000])
    with pytest.raises(ShardError):
        world.generator().generate(str(cut_short))
    with pytest.raises(ObjectNotFoundError):
        world.generator().generate(str(tmp_path / "absent.tar"))
    wrong = TargetGenerator(lambda: load_backbone(tiny_dinov2(SIZE, seed=1)), world.store)
    with pytest.raises(SpecMismatchError):
        wrong.generate(str(good))
    assert world.store.records() == {}


def test_bfloat16_is_near_float32_but_not_the_same(tmp_path: Path) -> None:
    shard = read_shard(str(write_shard(tmp_path / "a.tar", 1)))
    exact, rough = (make_world(tmp_path / p, precision=p) for p in ("float32", "bfloat16"))
    targets = [
        compute_targets(load_teacher(w.teacher), w.spec, crops_of(w.spec, "a", shard.samples[0])).features
        for w in (exact, rough)
    ]
    assert all(target.dtype == torch.float32 for target in targets)
    error = float((targets[0] - targets[1]).norm() / targets[0].norm())
    assert 1e-4 < error < 3e-2


def test_one_view_gives_the_raw_features(tmp_path: Path) -> None:
    world = make_world(tmp_path, views=1, encoding="float32")
    url = str(write_shard(tmp_path / "a.tar", 2))
    assert world.generator().generate(url).forward_passes == 2
    rows, teacher = world.store.read("a"), load_teacher(world.teacher)
    for row, sample in enumerate(read_shard(url).samples):
        crop = crops_of(world.spec, "a", sample)[0]
        with torch.no_grad():
            raw = teacher(teacher.normalize(torch.from_numpy(crop.pixels)[None]))[0].flatten(1).T
        torch.testing.assert_close(rows.features[row].decode()[0], raw)
