import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from phreg.errors import ConfigError, ModelError, NonFiniteError
from phreg.method.denoising import denoise
from phreg.method.view_features import placement_indices, source_indices, view_features
from phreg.method.views import Views, sample_views, stack_views
from phreg.models import Backbone, load_backbone
from tests.helpers import tiny_clip, tiny_dinov2


@pytest.fixture(scope="module", params=["dinov2", "clip"])
def backbone(request: pytest.FixtureRequest) -> Backbone:
    if request.param == "clip":
        return load_backbone(tiny_clip(), read_out="naclip")
    return load_backbone(tiny_dinov2())


def images(n: int, height: int = 64, width: int = 64, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 3, height, width, generator=torch.Generator().manual_seed(seed))


def pixel_view(image: torch.Tensor, dy: int, dx: int, flip: bool, p: int, fill: torch.Tensor) -> torch.Tensor:
    """The definition, pixel by pixel: view[y, x] = image[y + dy p, x + dx p], white outside, then flip."""
    _, height, width = image.shape
    view = fill[:, None, None].expand(-1, height, width).clone()
    for y in range(height):
        for x in range(width):
            if 0 <= y + dy * p < height and 0 <= x + dx * p < width:
                view[:, y, x] = image[:, y + dy * p, x + dx * p]
    return view.flip(-1) if flip else view


@pytest.mark.parametrize("size", [(64, 64), (48, 72)])
def test_shifted_tokens_equal_shifted_pixels(backbone: Backbone, size: tuple[int, int]) -> None:
    image = images(1, *size)[0]
    fill = (1 - backbone.mean) / backbone.std
    views = Views([[0, 0], [2, -1], [-3, 2]], [0, 1, 0])
    features, seen = view_features(backbone, image[None], views)
    place = placement_indices(views, backbone.grid_of(image))
    for v, ((dy, dx), flip) in enumerate(zip(views.offsets, views.flips, strict=True)):
        direct = backbone(pixel_view(image, dy, dx, flip, 8, fill)[None]).flatten(2)[0].T
        where = seen[0, v]
        torch.testing.assert_close(features[0, v][where], direct[place[v]][where], rtol=0, atol=1e-5)
        assert (features[0, v][~where] == 0).all()


@settings(max_examples=50, deadline=None)
@given(rows=st.integers(2, 12), columns=st.integers(2, 12), n=st.integers(1, 8), seed=st.integers(0, 999))
def test_unshift_inverts_shift(rows: int, columns: int, n: int, seed: int) -> None:
    """Each patch of the crop, looked up where placement says, is that patch (or its mirror)."""
    views = sample_views((rows, columns), n, 0.4, seed)
    source, place = source_indices(views, (rows, columns)), placement_indices(views, (rows, columns))
    patches = rows * columns
    mirror = (np.arange(patches) // columns) * columns + (columns - 1 - np.arange(patches) % columns)
    for v in range(n):
        seen = place[v] >= 0
        found = source[v][place[v][seen]]
        expected = np.arange(patches)[seen]
        assert (found == (patches + mirror[expected] if views.flips[v] else expected)).all()
        assert seen.sum() == (source[v] < 2 * patches).sum()


def test_one_unshifted_view_is_the_plain_features(backbone: Backbone) -> None:
    batch = images(3)
    denoised = denoise(backbone, batch, Views([[0, 0]], [False]))
    torch.testing.assert_close(denoised, backbone(batch), rtol=0, atol=1e-5)


def test_targets_do_not_depend_on_the_batch(backbone: Backbone) -> None:
    batch = images(5)
    views = stack_views([sample_views(8, 6, seed=i) for i in range(5)])
    together = denoise(backbone, batch, views)
    alone = torch.cat([denoise(backbone, batch[i : i + 1], views[i : i + 1]) for i in range(5)])
    assert torch.equal(together, alone)
    chunked = denoise(backbone, batch, views, images_per_forward=3)
    torch.testing.assert_close(chunked, together, rtol=0, atol=1e-5)


def test_unseen_patch_is_refused(backbone: Backbone) -> None:
    with pytest.raises(ConfigError, match="row 0, column 0"):
        denoise(backbone, images(1), Views([[1, 0]], [0]))


def test_non_finite_features_are_refused(backbone: Backbone) -> None:
    bad = images(1)
    bad[0, 0, 0, 0] = float("nan")
    with pytest.raises(NonFiniteError):
        denoise(backbone, bad, sample_views(8, 2))


def test_size_that_the_patch_does_not_divide(backbone: Backbone) -> None:
    with pytest.raises(ModelError, match="multiples of 8"):
        denoise(backbone, images(1, 60, 64), sample_views(8, 2))


def test_empty_batch(backbone: Backbone) -> None:
    assert denoise(backbone, images(0), sample_views(8, 2)).shape == (0, backbone.out_dim, 8, 8)
