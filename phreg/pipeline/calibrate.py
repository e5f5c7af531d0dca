"""Calibration of denoisers that have to see some images first: on which, and where what is found is kept.

The images are the first training images that can be used, cut as the teacher sees them. What is found is part
of a target spec. It is also kept in the cache, under a digest of all it depends on: so it is found once, and
machines whose last bits differ make the same targets. Of two runs that find it at the same time the first is
believed by both.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from phreg.config.denoisers import DenoiserConfig, parse_denoiser
from phreg.config.run import RunConfig
from phreg.data import cut_middle, decode_image, expand_urls, read_shard
from phreg.errors import ConfigError, SampleError, ShardError
from phreg.evaluate import ModelIdentity
from phreg.fingerprint import digest_bytes, digest_json
from phreg.method.denoising import calibrate, denoiser_of
from phreg.models import Backbone
from phreg.progress import tell
from phreg.storage import Folder
from phreg.storage.checksummed import read_checksummed_json, to_checksummed_json

FOLDER = "calibrations"
FORMAT_VERSION = 1  # raise it when the same images would show something else


def calibrated(
    config: RunConfig, teacher: Backbone, denoiser: DenoiserConfig, *, keep: bool = True
) -> DenoiserConfig:
    """The denoiser, with what it needs to know of this teacher. `keep`: write what is found into the cache.

    Raises `ConfigError` if the teacher cannot be cleaned so, or there are no images to find it on.
    """
    denoiser_of(denoiser).check(teacher)
    if not denoiser.calibration_images:
        return denoiser
    tell(f"calibrating {denoiser.title}")
    pixels = _pixels(config, teacher, denoiser.calibration_images)
    folder = Folder(config.cache_url) / FOLDER
    path = f"{_digest(teacher, denoiser, pixels)}.json"
    known = _stored(folder, path)
    if known is not None:
        return known
    found = calibrate(teacher, teacher.normalize(torch.from_numpy(pixels)), denoiser)
    if keep and not folder.create(path, _as_stored(found)):
        known = _stored(folder, path)
        if known is not None:
            return known  # of a run that was faster
        folder.write(path, _as_stored(found))  # damaged
    return found


def _pixels(config: RunConfig, teacher: Backbone, count: int) -> Any:
    """The first `count` training images [N, H, W, 3], 8-bit; fewer if there are not so many."""
    crops = []
    for crop in _crops(config, teacher):
        crops.append(crop)
        tell("calibrating", len(crops), count)
        if len(crops) == count:
            break
    if not crops:
        raise ConfigError(
            "There is no image to calibrate a denoiser on",
            expected="one at least in the training shards that can be read",
            remedy="see what is wrong with the shards, or take method: views",
        )
    return np.stack(crops)


def _crops(config: RunConfig, teacher: Backbone) -> Iterator[Any]:
    """What cannot be read is left out; the targets' reports name it."""
    for url in expand_urls(config.images):
        try:
            samples = read_shard(url).samples
        except ShardError:
            continue
        for sample in samples:
            try:
                yield cut_middle(decode_image(sample.image), *teacher.image_size)
            except SampleError:
                continue


def _digest(teacher: Backbone, denoiser: DenoiserConfig, pixels: Any) -> str:
    return digest_json(
        {
            "format_version": FORMAT_VERSION,
            "model": ModelIdentity.of(teacher).fields,
            "pos_embed_resize": teacher.pos_embed_resize,
            "denoiser": denoiser.model_dump(mode="json"),
            "shape": list(pixels.shape),
            "pixels": digest_bytes(pixels.tobytes()),
        }
    )


def _as_stored(denoiser: DenoiserConfig) -> bytes:
    return to_checksummed_json({"denoiser": denoiser.model_dump(mode="json")})


def _stored(folder: Folder, path: str) -> DenoiserConfig | None:
    fields = read_checksummed_json(folder, path)
    try:
        known: DenoiserConfig | None = None if fields is None else parse_denoiser(fields.get("denoiser"))
    except ValidationError:
        return None
    return known
