"""Measuring a model on held-out crops, a few images at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from phreg.errors import ModelError, NonFiniteError
from phreg.evaluate.held_out import HeldOut
from phreg.evaluate.look import Look, look
from phreg.evaluate.measures import target_cosines
from phreg.evaluate.shifts import draw_shifts
from phreg.models import Backbone
from phreg.progress import tell

Array = npt.NDArray[np.float64]
IMAGES_PER_FORWARD = 4
"""Images per batch off the CPU, each with all its shifted views; on CPU 1, which is as fast there."""


@dataclass(frozen=True, eq=False)
class Measurements:
    """What was measured on n images: artifact rates and norm ratios [n, L + 1] of the stages of a `Look`,
    shift cosines [n, k], target cosines [n, P].

    Percentiles and means are taken over all tokens of all images together.
    """

    keys: tuple[str, ...]
    artifact_rates: Array
    norm_ratios: Array
    shift_cosines: Array
    target_cosines: Array | None
    forward_passes: int = 0

    @property
    def metrics(self) -> dict[str, float]:
        """Over all images, by the names of `HIGHER_IS_BETTER`; `target_*` only where there are targets."""
        return self._summary(slice(None))

    @property
    def per_image(self) -> list[dict[str, float]]:
        """The same for each image, in the order of `keys`."""
        return [self._summary(slice(i, i + 1)) for i in range(len(self.keys))]

    @property
    def stages(self) -> list[dict[str, float]]:
        """Over all images, after each block and then of the features: `artifact_rate` and `norm_ratio`."""
        pairs = zip(self.artifact_rates.mean(0), self.norm_ratios.mean(0), strict=True)
        return [{"artifact_rate": float(rate), "norm_ratio": float(ratio)} for rate, ratio in pairs]

    def _summary(self, images: slice) -> dict[str, float]:
        rates, ratios = self.artifact_rates[images].mean(0), self.norm_ratios[images].mean(0)
        found = {
            "artifact_rate": float(rates[:-1].max()),
            "norm_ratio": float(ratios[:-1].max()),
            "outlier_rate": float(rates[-1]),
            "shift_cosine_mean": float(self.shift_cosines[images].mean()),
            "shift_cosine_p5": float(np.percentile(self.shift_cosines[images], 5)),
        }
        if self.target_cosines is not None:
            percentiles = np.percentile(self.target_cosines[images], [1, 5, 50])
            names = ("target_cosine_p1", "target_cosine_p5", "target_cosine_p50")
            found |= dict(zip(names, percentiles.tolist(), strict=True))
        return found


def measure(
    backbone: Backbone, held_out: HeldOut, shifts: int, max_shift: float, seed: int, device: str = "cpu"
) -> dict[str, float]:
    """All metrics of a model on held-out crops; without targets the `target_*` are left out.

    `shifts` patch shifts of at most `max_shift` of the grid's side are drawn from `seed`. Raises
    `NonFiniteError`, and `ModelError` where crops or targets do not fit the model.
    """
    return measurements(backbone, held_out, shifts, max_shift, seed, device).metrics


def measurements(
    backbone: Backbone, held_out: HeldOut, shifts: int, max_shift: float, seed: int, device: str = "cpu"
) -> Measurements:
    """As `measure`, image by image. Moves the model to `device`."""
    _check_fit(backbone, held_out)
    backbone = backbone.on(device)
    offsets = draw_shifts(_grid(backbone, held_out), shifts, max_shift, seed)
    parts, done = [], 0
    with torch.inference_mode():
        for keys, images, targets in _batches(backbone, held_out, device):
            with _naming(keys):
                seen = look(backbone, images, offsets)
                seen = seen._replace(features=backbone.as_targets(seen.features))
                parts.append(measurements_of(keys, seen, targets))
            done += len(keys)
            tell("measuring", done, len(held_out))
    return replace(join(parts), forward_passes=len(held_out) * (1 + len(offsets)))


def measurements_of(keys: Sequence[str], seen: Look, targets: Tensor | None) -> Measurements:
    """What a look at images comes to. Raises `NonFiniteError` for targets that are not finite."""
    closeness = None if targets is None else target_cosines(targets, seen.features)
    return Measurements(
        keys=tuple(keys),
        artifact_rates=_array(seen.artifact_rates),
        norm_ratios=_array(seen.norm_ratios),
        shift_cosines=_array(seen.shift_cosines),
        target_cosines=None if closeness is None else _array(closeness),
    )


def join(parts: Sequence[Measurements]) -> Measurements:
    """Measurements of several sets of images, by the same model and shifts, as one."""
    closeness = [part.target_cosines for part in parts if part.target_cosines is not None]
    return Measurements(
        keys=tuple(key for part in parts for key in part.keys),
        artifact_rates=np.concatenate([part.artifact_rates for part in parts]),
        norm_ratios=np.concatenate([part.norm_ratios for part in parts]),
        shift_cosines=np.concatenate([part.shift_cosines for part in parts]),
        target_cosines=np.concatenate(closeness) if closeness else None,
        forward_passes=sum(part.forward_passes for part in parts),
    )


@contextmanager
def _naming(keys: Sequence[str]) -> Iterator[None]:
    """Says of which images features are NaN or Inf."""
    try:
        yield
    except NonFiniteError as error:
        problem = f"The model cannot be measured: {error.problem} of {', '.join(keys)}"
        raise NonFiniteError(problem, error.expected, error.found, error.remedy) from None


def _batches(
    backbone: Backbone, held_out: HeldOut, device: str
) -> Iterator[tuple[tuple[str, ...], Tensor, Tensor | None]]:
    step = _images_per_forward(device)
    for start in range(0, len(held_out), step):
        crops = torch.from_numpy(held_out.crops[start : start + step])
        targets = held_out.targets
        yield (
            held_out.keys[start : start + step],
            backbone.normalize(crops.to(device)),
            None if targets is None else targets[start : start + step].to(device),
        )


def _images_per_forward(device: str) -> int:
    return 1 if torch.device(device).type == "cpu" else IMAGES_PER_FORWARD


def _array(values: Tensor) -> Array:
    return values.double().cpu().numpy()


def _grid(backbone: Backbone, held_out: HeldOut) -> tuple[int, int]:
    side = held_out.crops.shape[1] // backbone.patch_size
    return side, side


def _check_fit(backbone: Backbone, held_out: HeldOut) -> None:
    """The crops are of the model's size, and the targets of its features' shape."""
    side = backbone.side_for(held_out.crops.shape[1])
    if backbone.image_size != (side, side):
        raise ModelError(
            "The held-out crops are not of the model's size",
            expected=f"{backbone.image_size[0]} x {backbone.image_size[1]} pixels",
            found=f"{side} x {side}",
            remedy="load the model with image_size of the targets, or measure it on targets of its own size",
        )
    if held_out.targets is None:
        return
    height, width, channels = backbone.target_shape
    if held_out.targets.shape[1:] != (height * width, channels):
        raise ModelError(
            "The targets do not have the shape of the model's features",
            expected=f"{height * width} patches of {channels} channels",
            found=f"{held_out.targets.shape[1]} patches of {held_out.targets.shape[2]} channels",
            remedy="measure against targets of the same architecture (evaluation.targets)",
        )
