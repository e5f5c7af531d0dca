"""Figures: PNGs of a sensible size that show what they are given, and take any title."""

import io
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from phreg.errors import DataError, NonFiniteError
from phreg.evaluate import Inspected, Look, draw_before_after, draw_curve, draw_inspection
from phreg.evaluate.panels import norm_scale
from tests.helpers import make_image

CROP = np.array(make_image(0, 64, 64))


def make_features(seed: int = 0) -> torch.Tensor:
    return torch.randn(8, 6, 6, generator=torch.Generator().manual_seed(seed))


def pixels(data: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(data), formats=["PNG"])
    image.load()
    assert 600 <= image.width <= 1800
    assert 250 <= image.height <= 1600
    return np.array(image.convert("RGB")).astype(int)


def look_of(features: torch.Tensor, artifacts: tuple[tuple[int, int], ...] = ()) -> Look:
    """Two blocks and the features, all with the norms of the features; artifacts after the first block."""
    norms = features.double().norm(dim=0).expand(1, 3, 6, 6).clone()
    found = torch.zeros(norms.shape, dtype=torch.bool)
    for row, column in artifacts:
        found[0, 0, row, column] = True
    return Look(features[None], norms, found, torch.zeros(1, 1))


def before_after(before: torch.Tensor, after: torch.Tensor, **names: object) -> bytes:
    return draw_before_after(CROP, look_of(before), look_of(after), **names)


def inspection(first: torch.Tensor, second: torch.Tensor, **names: object) -> bytes:
    return draw_inspection([Inspected("a.jpg", CROP, look_of(first), second)] * 2, **names)


DRAWINGS = pytest.mark.parametrize("draw", [before_after, inspection])
Draw = Callable[..., bytes]


@DRAWINGS
def test_the_same_features_give_the_same_picture_and_others_another(draw: Draw) -> None:
    before, after = make_features(0), make_features(1)
    data = draw(before, after)
    assert draw(before.clone(), after.clone()) == data
    assert (pixels(data) != pixels(draw(before, make_features(2)))).any()
    assert (pixels(data) != 255).mean() > 0.5, "it is mostly picture"


@DRAWINGS
@pytest.mark.parametrize(
    "title", ["", "photos-000000/a_0001", "$x_1", "a" * 500, "a\nb", "é<&>{}", "$$ \\frac", "\udcff.jpg"]
)
def test_any_title_can_be_drawn(draw: Draw, title: str) -> None:
    pixels(draw(make_features(0), make_features(1), title=title))


def test_any_names_can_be_drawn() -> None:
    pixels(before_after(make_features(0), make_features(1), names=("$teacher_", "reg16-" * 20)))


@DRAWINGS
def test_features_that_are_not_finite_are_refused(draw: Draw) -> None:
    broken = make_features()
    broken[0, 0, 0] = float("nan")
    with pytest.raises(NonFiniteError):
        draw(broken, make_features())
    with pytest.raises(NonFiniteError):
        draw(make_features(), broken)


@DRAWINGS
def test_features_that_do_not_vary_can_be_drawn(draw: Draw) -> None:
    pixels(draw(torch.ones(8, 6, 6), torch.ones(8, 6, 6)))
    pixels(draw(torch.zeros(8, 6, 6), torch.ones(8, 6, 6)))


def test_artifacts_are_framed_and_nothing_else() -> None:
    def red(data: bytes) -> int:
        image = pixels(data)
        return int(((image[..., 0] > 230) & (image[..., 1] < 90) & (image[..., 2] < 90)).sum())

    features = make_features()
    features[:, 4, 4] *= 10  # long, and no artifact
    none, two = look_of(features), look_of(features, ((1, 2), (5, 0)))
    for draw in (
        lambda seen: draw_before_after(CROP, seen, seen),
        lambda seen: draw_inspection([Inspected("a.jpg", CROP, seen, features)]),
    ):
        assert red(draw(none)) == 0
        assert red(draw(two)) > 100


def test_the_block_with_most_artifacts_is_drawn_and_of_none_the_last() -> None:
    seen = look_of(make_features(), ((1, 2),))
    changed = seen.norms.clone()
    changed[0, 1] *= torch.rand(6, 6)  # the last block
    assert draw_before_after(CROP, seen._replace(norms=changed), seen) == draw_before_after(CROP, seen, seen)
    calm = look_of(make_features())
    other = draw_before_after(CROP, calm._replace(norms=changed), calm)
    assert other != draw_before_after(CROP, calm, calm)


def test_norms_share_one_scale_that_outliers_turn_logarithmic() -> None:
    calm, wild = np.linspace(9, 11, 36), np.r_[np.linspace(9, 11, 35), 100]
    assert (norm_scale([calm, calm / 2]).vmin, norm_scale([calm, calm / 2]).vmax) == (4.5, 11)
    assert type(norm_scale([calm])).__name__ == "Normalize"
    assert type(norm_scale([calm, wild])).__name__ == "LogNorm"


def make_rows(steps: int, validate_every: int, scale: float = 1) -> list[dict]:
    rows = []
    for step in range(1, steps + 1):
        cosine, mse = 0.5 / step, 2 / step * scale
        terms = {"cosine": cosine, "mse": mse, "total": cosine + mse}
        rows.append({"step": step, "split": "train", "lr": 1e-4, "grad_norm": 1.0, **terms})
        if step % validate_every == 0:
            rows.append({"step": step, "split": "validation", "grad_norm": None, **terms})
    return rows


@pytest.mark.parametrize(("steps", "validate_every"), [(1, 1), (1, 2), (3, 1), (200, 50)])
@pytest.mark.parametrize("scale", [1, 0, 1e-6])
def test_a_curve_can_be_drawn(steps: int, validate_every: int, scale: float) -> None:
    data = draw_curve(make_rows(steps, validate_every, scale))
    pixels(data)
    assert data == draw_curve(make_rows(steps, validate_every, scale)[::-1]), "the order of rows is no matter"


def test_a_curve_needs_rows() -> None:
    with pytest.raises(DataError, match="no loss curve"):
        draw_curve([])


def test_drawing_leaves_no_global_state() -> None:
    code = "import phreg.evaluate, sys; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
