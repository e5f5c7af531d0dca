"""Is this ViT dirty? Artifact measures and a figure for any backbone and a few images, no pipeline needed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from phreg.data import cut_middle, decode_image
from phreg.errors import ConfigError, DataError, NonFiniteError, SampleError, StorageError
from phreg.evaluate.evaluator import Measurements, join, measurements_of
from phreg.evaluate.figures import Inspected, draw_inspection
from phreg.evaluate.look import look
from phreg.evaluate.shifts import draw_shifts
from phreg.evaluate.verdict import verdict
from phreg.fingerprint import digest_bytes
from phreg.method.denoising import denoise
from phreg.method.views import sample_views
from phreg.models import Backbone
from phreg.seeding import derive_seed
from phreg.storage import read_url
from phreg.storage.messages import shown
from phreg.types import Quarantined

SHIFTS = 8
MAX_SHIFT = 0.15
DRAWN = 4
"""Images in the figure: the first that could be used."""


@dataclass(frozen=True)
class Inspection:
    """What an inspection found.

    `metrics` over all images and `per_image` (each with its `image`) are those of an evaluation, the
    target being the model's own denoised features. `layers` has a row per block, of tokens before the final
    norm, and one of the features, after it. `verdict` is one line in words, `figure` PNG bytes, `skipped` the
    images that could not be used, with reasons.
    """

    metrics: dict[str, float]
    layers: tuple[dict[str, str | float], ...]
    per_image: tuple[dict[str, str | float], ...]
    verdict: str
    figure: bytes = field(repr=False)
    skipped: tuple[Quarantined, ...]


def inspect_model(
    backbone: Backbone,
    images: Sequence[str],
    views: int = 10,
    seed: int = 0,
    device: str = "cpu",
    name: str = "",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Inspection:
    """Measure a model on images at paths or fsspec URLs, each cut to its middle, in the proportions of
    the model's input.

    `views` is how many views the denoised reference averages; they depend on `seed` and the image alone.
    `name` is the figure's title; `on_progress` is told (images done, images in all). An image that cannot
    be read, or whose features are not finite, is skipped. Raises `DataError` if none can be used.
    """
    _check(images, views)
    backbone = backbone.on(device)
    measured: list[Measurements] = []
    drawn: list[Inspected] = []
    skipped: list[Quarantined] = []
    for done, url in enumerate(images, start=1):
        try:
            item = _inspected(backbone, url, views, seed)
            measured.append(_measure(item))
        except (SampleError, StorageError, NonFiniteError) as error:
            reason = error.problem + (f": {error.found}" * bool(error.found))
            skipped.append(Quarantined(shown(url), reason))
        else:
            drawn += [item][: DRAWN - len(drawn)]
        on_progress(done, len(images))
    if not measured:
        raise _nothing_usable(skipped)
    return _inspection(join(measured), drawn, skipped, name)


def _inspection(
    found: Measurements, drawn: Sequence[Inspected], skipped: Sequence[Quarantined], name: str
) -> Inspection:
    pairs = zip(found.keys, found.per_image, strict=True)
    rows: list[dict[str, str | float]] = [{"image": key, **row} for key, row in pairs]
    return Inspection(
        metrics=found.metrics,
        layers=_layers(found),
        per_image=tuple(rows),
        verdict=verdict(found.metrics),
        figure=draw_inspection(drawn, name),
        skipped=tuple(skipped),
    )


def _layers(found: Measurements) -> tuple[dict[str, str | float], ...]:
    names = [f"block {i}" for i in range(1, len(found.stages))] + ["final norm"]
    return tuple({"after": name, **stage} for name, stage in zip(names, found.stages, strict=True))


def _inspected(backbone: Backbone, url: str, views: int, seed: int) -> Inspected:
    """The central crop of an image, the model's look at it, and its features denoised, on the CPU."""
    data = read_url(url)
    crop = cut_middle(decode_image(data), *backbone.image_size)
    own = sample_views(
        backbone.grid_size, views, MAX_SHIFT, derive_seed(seed, "inspection", digest_bytes(data))
    )
    shifts = draw_shifts(backbone.grid_size, SHIFTS, MAX_SHIFT, seed)
    with torch.inference_mode():
        batch = backbone.normalize(torch.from_numpy(crop)[None].to(backbone.mean.device))
        seen, reference = look(backbone, batch, shifts).cpu(), denoise(backbone, batch, own)[0]
    return Inspected(shown(url), crop, seen, reference.cpu())


def _measure(item: Inspected) -> Measurements:
    target = item.denoised.flatten(1).T[None]
    return measurements_of((item.name,), item.look, target)


def _check(images: Sequence[str], views: int) -> None:
    if views < 2:
        raise ConfigError(
            "One view denoises nothing", expected="at least 2 views (the paper has 10)", found=str(views)
        )
    if not images:
        raise ConfigError("There are no images to inspect", expected="at least one path or URL")


def _nothing_usable(skipped: Sequence[Quarantined]) -> DataError:
    return DataError(
        f"None of {len(skipped)} images could be used",
        expected="at least one readable image",
        found="; ".join(f"{key}: {reason}" for key, reason in skipped[:3]),
        remedy="give image files, for instance FOLDER/*.jpg, in a format that `phreg pack` reads",
    )
