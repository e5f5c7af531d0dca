"""Small records that cross package borders."""

from typing import NamedTuple


class Box(NamedTuple):
    """A square region of an image, in pixels of the (EXIF-upright) source image."""

    top: int
    left: int
    side: int


class Quarantined(NamedTuple):
    """A sample left out, and why."""

    key: str
    reason: str


class Damage(NamedTuple):
    """Targets that are not as committed: the spec's digest, the shard, and which attempt at it was read
    (None: its commit record could not be)."""

    spec: str
    shard: str
    attempt: str | None


HIGHER_IS_BETTER: dict[str, bool] = {
    "artifact_rate": False,
    "norm_ratio": False,
    "outlier_rate": False,
    "shift_cosine_mean": True,
    "shift_cosine_p5": True,
    "target_cosine_p1": True,
    "target_cosine_p5": True,
    "target_cosine_p50": True,
    "class_token_cosine": True,
    "class_token_neighbours": True,
}
"""The label-free measures, and in which direction each is good.

`artifact_rate` and `norm_ratio` are of tokens before the final norm, in the block where they are largest;
`outlier_rate` is the rate of artifacts after it. The others are of features, and so after it too."""

KEPT_FROM_TEACHER = ("class_token_cosine", "class_token_neighbours")
"""Those that say what a student has kept of its teacher, which itself has 1, the best there is."""
