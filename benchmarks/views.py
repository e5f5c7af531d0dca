"""`python -m benchmarks views MODEL IMAGES...`: which views to average, and how many.

All shifts up to `--max-shift`, mirrored and not, are few: 50 views for 14 x 14 patches and 15 %. So the mean
over all of them is known exactly, and with it the error of any choice: the root mean square of its distance
from that mean, over that of the unshifted view. Prints the error by n for each way of choosing, and how many
views have the error of the paper's ten.
"""

import argparse
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from phreg import load_backbone, sample_views
from phreg.data import cut_middle, decode_image
from phreg.method.view_features import view_features
from phreg.method.views import Views
from phreg.report.markdown import markdown_table
from phreg.seeding import Draws

COUNTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20)
DRAWS = 20
Chosen = tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]


def paper(grid: int, n: int, shift: float, seed: int) -> Chosen:
    views = sample_views(grid, n, shift, seed)
    return views.offsets, views.flips


def independent(grid: int, n: int, shift: float, seed: int) -> Chosen:
    """Each view for itself; the first is the crop."""
    draws, reach = Draws(seed, "independent", grid, n), round(shift * grid)
    offsets, flips = draws.integers(-reach, reach, 2 * n).reshape(n, 2), draws.coins(n)
    offsets[0], flips[0] = 0, False
    return offsets, flips


def distinct(grid: int, n: int, shift: float, seed: int) -> Chosen:
    """The crop, then views of which no two are equal."""
    offsets, flips = every(grid, shift)
    order = Draws(seed, "distinct", grid, n).permutation(len(flips) - 1)[: n - 1] + 1
    return offsets[[0, *order]], flips[[0, *order]]


def both_flips(grid: int, n: int, shift: float, seed: int) -> Chosen:
    """The paper's offsets, half as many, each as it is and mirrored."""
    offsets = np.repeat(sample_views(grid, (n + 1) // 2, shift, seed).offsets, 2, 0)[:n]
    return offsets, np.arange(n) % 2 == 1


def opposite(grid: int, n: int, shift: float, seed: int) -> Chosen:
    """The paper's offsets, half as many; after each the opposite one, mirrored if it is not."""
    half = sample_views(grid, n // 2 + 1, shift, seed)
    offsets = np.stack([half.offsets[1:], -half.offsets[1:]], 1).reshape(-1, 2)
    flips = np.stack([half.flips[1:], ~half.flips[1:]], 1).reshape(-1)
    return np.concatenate([[[0, 0]], offsets])[:n], np.concatenate([[False], flips])[:n]


def alternating(grid: int, n: int, shift: float, seed: int) -> Chosen:
    """The paper's offsets, every second one mirrored instead of each by a coin."""
    return sample_views(grid, n, shift, seed).offsets, np.arange(n) % 2 == 1


SAMPLERS: dict[str, Callable[[int, int, float, int], Chosen]] = {
    "the paper's": paper,
    "independent": independent,
    "distinct": distinct,
    "alternately mirrored": alternating,
    "each with its mirror image": both_flips,
    "with the opposite": opposite,
}


def every(grid: int, shift: float) -> Chosen:
    """All views, the unshifted one first."""
    reach = round(shift * grid)
    steps = sorted(range(-reach, reach + 1), key=abs)
    found = [((dy, dx), flip) for dy in steps for dx in steps for flip in (False, True)]
    return np.array([offset for offset, _ in found]), np.array([flip for _, flip in found])


def errors_of(
    features: torch.Tensor, seen: torch.Tensor, grid: int, shift: float
) -> dict[tuple[str, int], float]:
    """Mean squared error of each sampler and number of views, on the features of all views of one image."""
    offsets, flips = every(grid, shift)
    place = {
        (*map(int, offset), bool(flip)): i
        for i, (offset, flip) in enumerate(zip(offsets, flips, strict=True))
    }

    def mean(chosen: Chosen) -> torch.Tensor:
        index = [place[(*map(int, offset), bool(flip))] for offset, flip in zip(*chosen, strict=True)]
        return features[index].sum(0) / seen[index].sum(0)[:, None]

    whole = mean((offsets, flips))

    def error(sampler: Callable[[int, int, float, int], Chosen], n: int) -> float:
        draws = (mean(sampler(grid, n, shift, seed)) for seed in range(DRAWS))
        return float(np.mean([((drawn - whole) ** 2).mean() for drawn in draws]))

    return {
        (name, n): error(sampler, n) for name, sampler in SAMPLERS.items() for n in COUNTS if n <= len(flips)
    }


def _keys(views: Chosen) -> list[tuple[int, int, bool]]:
    return [(int(dy), int(dx), bool(flip)) for (dy, dx), flip in zip(*views, strict=True)]


def views_like(errors: dict[int, float], wanted: float) -> float:
    """How many views have an error of `wanted`: between two numbers of views by a line in log scale."""
    counts = sorted(errors)
    for before, after in pairwise(counts):
        if errors[after] <= wanted:
            low, high = np.log(errors[before]), np.log(errors[after])
            share = (low - np.log(wanted)) / (low - high) if low > high else 1.0
            return float(np.exp(np.log(before) + share * (np.log(after) - np.log(before))))
    return float("inf")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks views", description=__doc__)
    parser.add_argument("model", help="as in a config's teacher.model")
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--read-out", default="naclip")
    parser.add_argument("--max-shift", type=float, default=0.15)
    parser.add_argument("--output", type=Path, help="CSV file of the errors")
    options = parser.parse_args(arguments)
    backbone = load_backbone(options.model, image_size=options.image_size, read_out=options.read_out)
    grid, size = backbone.grid_size[0], options.image_size
    offsets, flips = every(grid, options.max_shift)
    found: list[dict[tuple[str, int], float]] = []
    for path in options.images:
        crop = torch.from_numpy(cut_middle(decode_image(path.read_bytes()), size, size))[None]
        parts = [
            view_features(backbone, backbone.normalize(crop), Views(offsets[i : i + 10], flips[i : i + 10]))
            for i in range(0, len(flips), 10)
        ]
        features, seen = (torch.cat([part[k][0] for part in parts]) for k in (0, 1))
        found.append(errors_of(features, seen, grid, options.max_shift))
        print(f"{len(found)}/{len(options.images)} {path.name}", file=sys.stderr, flush=True)
    mean = {key: float(np.mean([errors[key] for errors in found])) for key in found[0]}
    relative = {key: (error / mean["the paper's", 1]) ** 0.5 for key, error in mean.items()}
    by_name = {name: {n: relative[name, n] for n in COUNTS if (name, n) in relative} for name in SAMPLERS}
    like_ten = {name: views_like(errors, by_name["the paper's"][10]) for name, errors in by_name.items()}
    rows = [
        [name, *(f"{error:.3f}" for error in errors.values()), f"{like_ten[name]:.1f}"]
        for name, errors in by_name.items()
    ]
    print(f"{len(found)} images, {size} px, {options.read_out}, {len(flips)} views in all\n")
    print(markdown_table(["views", *map(str, by_name["the paper's"]), "like the paper's 10"], rows))
    if options.output:
        lines = [f"{name},{n},{error:.5f}" for (name, n), error in relative.items()]
        options.output.write_text("\n".join(["views,n,error", *lines, ""]))
    print(f"ratio: {min(like_ten.values()) / 10:.2f}")
    return 0
