"""`python -m benchmarks views MODEL IMAGES...`: which views to average, and how many.

All shifts up to `--max-shift`, mirrored and not, are few: 50 views for 14 x 14 patches and 15 %. So the mean
over all of them is known exactly, and with it the error of any choice: the root mean square of its distance
from that mean, over that of the unshifted view. Prints the error by n for each way of choosing, and how many
views have the error of the paper's ten.

Then what targets tell of their own error (`variance: true`), and what going by it would save: views are added
until the standard error of an image's target, as a share of its length, is below a bound. Beside the error of
all images, and of the worst, stands how many views have it if all images get as many.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from phreg import load_backbone, sample_views
from phreg.data import cut_middle, decode_image
from phreg.method.certainty import variance_of_mean
from phreg.method.view_features import view_features
from phreg.method.views import Views
from phreg.report.markdown import markdown_table
from phreg.seeding import Draws

MOST, STOPPED_DRAWS, BOUNDS = 20, 5, (0.12, 0.1, 0.09, 0.08)
COUNTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20)
DRAWS = 20
Courses = npt.NDArray[np.float64]
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
    flips = every(grid, shift)[1]

    def mean(chosen: Chosen) -> torch.Tensor:
        index = _places(chosen, grid, shift)
        return features[index].sum(0) / seen[index].sum(0)[:, None]

    whole = mean(every(grid, shift))

    def error(sampler: Callable[[int, int, float, int], Chosen], n: int) -> float:
        draws = (mean(sampler(grid, n, shift, seed)) for seed in range(DRAWS))
        return float(np.mean([((drawn - whole) ** 2).mean() for drawn in draws]))

    return {
        (name, n): error(sampler, n) for name, sampler in SAMPLERS.items() for n in COUNTS if n <= len(flips)
    }


def courses_of(features: torch.Tensor, seen: torch.Tensor, grid: int, shift: float) -> Courses:
    """[draws, MOST + 1, 2] of one image: the squared error that the variance tells, and the true one, of the
    first n of the paper's `MOST` views, as shares of the target's square; of n < 2 there are none."""
    whole = features.sum(0) / seen.sum(0)[:, None]
    found = np.full((STOPPED_DRAWS, MOST + 1, 2), np.nan)
    for draw in range(STOPPED_DRAWS):
        index = _places(paper(grid, MOST, shift, draw), grid, shift)
        for n in range(2, MOST + 1):
            used, values = seen[index[:n]].bool(), features[index[:n]]
            mean = values.sum(0) / used.sum(0)[:, None]
            told = variance_of_mean(values[None], used[None], mean[None]).mean()
            found[draw, n] = float(told), float((mean - whole).square().mean())
    return found / float(whole.square().mean())


def ranks_of(features: torch.Tensor, seen: torch.Tensor, grid: int, shift: float) -> float:
    """Does the variance tell which tokens are off? Rank correlation with the true error, of the paper's ten
    views, within one image; mean over draws."""
    whole, found = features.sum(0) / seen.sum(0)[:, None], []
    for draw in range(STOPPED_DRAWS):
        index = _places(paper(grid, 10, shift, draw), grid, shift)
        used, values = seen[index].bool(), features[index]
        mean = values.sum(0) / used.sum(0)[:, None]
        told = variance_of_mean(values[None], used[None], mean[None])[0]
        both = torch.stack([told, (mean - whole).square().mean(-1)])
        found.append(float(both.argsort(1).argsort(1).double().corrcoef()[0, 1]))
    return float(np.mean(found))


def stopped(courses: Sequence[Courses], bound: float, least: int = 4) -> tuple[float, float, float]:
    """Views on average, and the root mean square error of all images and of the worst, if each stops at the
    bound; `courses` of the images."""
    counts, errors = [], []
    for course in courses:
        enough = course[:, least:, 0] <= bound**2
        last = np.where(enough.any(1), enough.argmax(1) + least, MOST)
        counts.append(last.mean())
        errors.append(course[np.arange(len(course)), last, 1].mean())
    return float(np.mean(counts)), float(np.mean(errors)) ** 0.5, float(np.max(errors)) ** 0.5


def _stopping(courses: Sequence[Courses]) -> str:
    true = np.stack([course[:, :, 1].mean(0) for course in courses])
    of_all = {n: float(true[:, n].mean()) ** 0.5 for n in range(2, MOST + 1)}
    of_worst = {n: float(true[:, n].max()) ** 0.5 for n in range(2, MOST + 1)}
    rows = []
    for bound in BOUNDS:
        views, error, worst = stopped(courses, bound)
        fixed = views_like(of_all, error), views_like(of_worst, worst)
        rows.append(
            [
                f"{bound:g}",
                f"{views:.1f}",
                f"{error:.3f}",
                f"{fixed[0]:.1f}",
                f"{worst:.3f}",
                f"{fixed[1]:.1f}",
            ]
        )
    told = float(np.mean([course[:, 10, 0] for course in courses])) ** 0.5
    head = f"the first ten of {MOST} views: off by {of_all[10]:.3f} of the target, told {told:.3f}\n\n"
    titles = ["bound", "views", "error", "all with as many", "worst image", "all with as many"]
    return head + markdown_table(titles, rows)


def _places(chosen: Chosen, grid: int, shift: float) -> list[int]:
    """Of views among all."""
    place = {key: index for index, key in enumerate(_keys(every(grid, shift)))}
    return [place[key] for key in _keys(chosen)]


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
    courses: list[Courses] = []
    ranks: list[float] = []
    for path in options.images:
        crop = torch.from_numpy(cut_middle(decode_image(path.read_bytes()), size, size))[None]
        parts = [
            view_features(backbone, backbone.normalize(crop), Views(offsets[i : i + 10], flips[i : i + 10]))
            for i in range(0, len(flips), 10)
        ]
        features, seen = (torch.cat([part[k][0] for part in parts]) for k in (0, 1))
        found.append(errors_of(features, seen, grid, options.max_shift))
        if len(flips) >= MOST:
            courses.append(courses_of(features, seen, grid, options.max_shift))
            ranks.append(ranks_of(features, seen, grid, options.max_shift))
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
    if courses:
        print(f"\nrank correlation of tokens' variance and error: {np.mean(ranks):.2f}")
        print(_stopping(courses))
    if options.output:
        lines = [f"{name},{n},{error:.5f}" for (name, n), error in relative.items()]
        options.output.write_text("\n".join(["views,n,error", *lines, ""]))
    print(f"ratio: {min(like_ten.values()) / 10:.2f}")
    return 0
