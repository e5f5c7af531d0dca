"""Small specs and targets, made from a seed."""

import numpy as np
import numpy.typing as npt
import torch

from phreg.cache import EncodedFeatures, TargetRows, TargetSpec

GRID, DIM, VIEWS = (2, 3), 5, 4
SHARD_DIGEST = "5" * 64


def make_spec(encoding: str = "float16", **changes: object) -> TargetSpec:
    fields: dict = {
        "teacher": {"architecture": "tiny vit", "weights": "0" * 64},
        "read_out": "standard",
        "precision": "float32",
        "image_size": 16,
        "grid_size": GRID,
        "dim": DIM,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.25, 0.25, 0.25),
        "min_crop": 0.5,
        "crops_per_image": 1,
        "views": VIEWS,
        "max_shift": 0.15,
        "seed": 0,
        "encoding": encoding,
    }
    return TargetSpec.model_validate(fields | changes)


def make_features(rows: int, seed: int = 0, patches: int = GRID[0] * GRID[1], dim: int = DIM) -> npt.NDArray:
    """Features like a ViT's: some channels far from zero, some much wider than others."""
    rng = np.random.default_rng(seed)
    scale, mean = np.exp(rng.normal(0, 1, dim)), rng.normal(0, 3, dim)
    return (rng.normal(size=(rows, patches, dim)) * scale + mean).astype(np.float32)


def make_rows(rows: int = 3, encoding: str = "float16", seed: int = 0, variance: bool = False) -> TargetRows:
    rng = np.random.default_rng(seed)
    features = make_features(rows, seed)
    sure = torch.from_numpy(np.square(features).mean(-1)) if variance else None
    return TargetRows(
        keys=[f"photos/é{i:03d}" if i % 2 else f"k{i}" for i in range(rows)],
        crops=np.zeros(rows, int),
        boxes=rng.integers(0, 500, (rows, 3)),
        views=rng.integers(-2, 2, (rows, VIEWS, 3)),
        features=EncodedFeatures.encode(features, encoding, sure),
    )


def assert_equal_rows(found: TargetRows, expected: TargetRows) -> None:
    assert list(found.keys) == list(expected.keys)
    for name in ("crops", "boxes", "views"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))
    assert found.features.encoding == expected.features.encoding
    assert found.features.arrays.keys() == expected.features.arrays.keys()
    for name, array in expected.features.arrays.items():
        assert np.array_equal(found.features.arrays[name], array)
        assert found.features.arrays[name].dtype == array.dtype
