"""A verdict in words. Its thresholds are rules of thumb, not measurements of your task.

Darcet et al. (arXiv 2309.16588, section 2) find about 2 % of a DINOv2's tokens to be outliers in norm,
and next to none in a network trained with registers. The bounds on shift consistency have no such
source. They leave room, since it also depends on what is seen: 60 photographs have 0.97 under a DINOv2 S/14
without artifacts, and the worst of them 0.82 (benchmarks/README.md).
"""

from collections.abc import Mapping

CLEAN_ARTIFACTS, DIRTY_ARTIFACTS = 0.002, 0.01
CLEAN_SHIFT_COSINE, DIRTY_SHIFT_COSINE = 0.90, 0.70


def verdict(metrics: Mapping[str, float]) -> str:
    """One line: dirty, clean or in between, with the numbers and the rules of thumb behind it."""
    before, after = metrics["artifact_rate"], metrics["outlier_rate"]
    artifacts, cosine = max(before, after), metrics["shift_cosine_mean"]
    if artifacts >= DIRTY_ARTIFACTS or cosine < DIRTY_SHIFT_COSINE:
        word = "dirty"
    elif artifacts < CLEAN_ARTIFACTS and cosine >= CLEAN_SHIFT_COSINE:
        word = "clean"
    else:
        word = "in between"
    return (
        f"{word}: {before:.2%} of tokens are artifacts before the final norm (largest norm over median: "
        f"{metrics['norm_ratio']:.1f}) and {after:.2%} after it, and features keep a cosine of {cosine:.3f} "
        f"under patch shifts (rules of thumb: clean below {CLEAN_ARTIFACTS:.1%} and from "
        f"{CLEAN_SHIFT_COSINE:.2f}, dirty from {DIRTY_ARTIFACTS:.0%} or below {DIRTY_SHIFT_COSINE:.2f})"
    )
