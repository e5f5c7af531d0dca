"""How much of a device's rate the targets stage reaches, with a device that sleeps.

    python -m benchmarks device --photos 'photos-*.tar' --ms-per-image 7.7 --shape 1369x768 --encoding int8

The stand-in takes its time without the interpreter's lock, as a GPU does, and gives features of the shape
asked for; all else is real: shards, decoding, crops, encoding, a cache on the local disk. The other side is
the slower of the sleeping alone and of bare decoding (crops cut by as many threads, and dropped).
"""

import argparse
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from phreg.cache import TargetSpec, TargetStore
from phreg.data import expand_urls, read_shard
from phreg.generate import Crop, TargetGenerator
from phreg.generate.crops import read_crops
from phreg.generate.teacher import Targets
from phreg.storage import Folder

DECODE_THREADS = 2


class StandIn(TargetGenerator):
    """A generator whose device sleeps `seconds` per image, one batch at a time."""

    def __init__(self, store: TargetStore, seconds: float, batch: int) -> None:
        super().__init__(self._no_teacher, store, images_per_forward=batch, decode_threads=DECODE_THREADS)
        self._seconds = seconds
        rng = np.random.default_rng(0)
        shape = (batch, store.spec.patches, store.spec.dim)
        self._features = torch.from_numpy(rng.normal(size=shape).astype(np.float32))

    def _computed(self, crops: Sequence[Crop]) -> Targets:
        with self._lock:
            time.sleep(self._seconds * len(crops))
            return Targets(self._features[: len(crops)])

    @staticmethod
    def _no_teacher() -> Any:
        raise AssertionError("the stand-in loads no network")


def spec_of(shape: tuple[int, int], image_size: int, views: int, encoding: str) -> TargetSpec:
    patches, dim = shape
    side = round(patches**0.5)
    return TargetSpec.model_validate(
        {
            "teacher": {"architecture": "a device that sleeps", "weights": "none"},
            "read_out": "standard",
            "precision": "float32",
            "image_size": image_size,
            "grid_size": (side, patches // side),
            "dim": dim,
            "mean": (0.5, 0.5, 0.5),
            "std": (0.25, 0.25, 0.25),
            "min_crop": 0.5,
            "crops_per_image": 1,
            "views": views,
            "max_shift": 0.15,
            "seed": 0,
            "encoding": encoding,
        }
    )


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks device", description=__doc__.splitlines()[0])
    parser.add_argument("--photos", nargs="+", required=True, help="shards: URLs, brace ranges, globs")
    parser.add_argument(
        "--ms-per-image", type=float, default=7.7, help="of the device (ViT-B at 518 px: 7.7)"
    )
    parser.add_argument("--shape", default="1369x768", help="patches x channels of the features")
    parser.add_argument("--image-size", type=int, default=518, help="pixels")
    parser.add_argument("--encoding", default="float16", help="float32, float16, bfloat16 or int8")
    parser.add_argument("--images-per-forward", type=int, default=8, help="images per batch of the device")
    options = parser.parse_args(arguments)
    patches, dim = map(int, options.shape.split("x"))
    spec = spec_of((patches, dim), options.image_size, 10, options.encoding)
    urls = expand_urls(options.photos)
    torch.set_num_threads(1)
    decoding, images = timed(lambda: sum(map(len, map(_keep, _crops(spec, urls)))))
    device = images * options.ms_per_image / 1e3
    with tempfile.TemporaryDirectory() as folder:
        store = TargetStore.create(Folder(str(Path(folder) / "cache")), spec)
        generator = StandIn(store, options.ms_per_image / 1e3, options.images_per_forward)
        before = resource.getrusage(resource.RUSAGE_SELF)
        stage, made = timed(lambda: sum(generator.generate(url).images for url in urls))
        after = resource.getrusage(resource.RUSAGE_SELF)
    assert made == images, "some images were left out"
    cpu = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / images
    print(f"torch {torch.__version__}, {os.cpu_count()} cores, {platform.machine()}")
    print(f"{images} images in {len(urls)} shards, {options.shape} as {options.encoding}")
    print(f"device alone   {device:7.2f} s  {1e3 * device / images:6.2f} ms per image")
    print(f"bare decoding  {decoding:7.2f} s  {1e3 * decoding / images:6.2f} ms per image")
    print(f"the stage      {stage:7.2f} s  {1e3 * stage / images:6.2f} ms per image, {1e3 * cpu:.1f} of CPU")
    print(
        f"peak memory    {after.ru_maxrss / 2**10:7.0f} MiB, {before.ru_maxrss / 2**10:.0f} before the stage"
    )
    print(f"ratio: {max(device, decoding) / stage:.2f}")
    return 0


def _crops(spec: TargetSpec, urls: Sequence[str]) -> Any:
    for url in urls:
        yield from read_crops(spec, read_shard(url), 16, DECODE_THREADS)


def _keep(crops: Any) -> list[Crop]:
    return crops if isinstance(crops, list) else []


def timed(work: Callable[[], int]) -> tuple[float, int]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result
