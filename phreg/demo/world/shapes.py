"""Shapes as sets of points of the plane, within the unit disc."""

import numpy as np
from jaxtyping import Bool, Float


def inside(shape: str, u: Float[np.ndarray, "h w"], v: Float[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Which points (u, v) belong to the shape."""
    r = np.hypot(u, v)
    if shape == "disc":
        return r < 0.95
    if shape == "square":
        return np.maximum(abs(u), abs(v)) < 0.7
    if shape == "triangle":
        return np.maximum(v, 0.866 * abs(u) - 0.5 * v) < 0.5
    if shape == "ring":
        return (r < 0.98) & (r > 0.42)
    if shape == "cross":
        return (np.minimum(abs(u), abs(v)) < 0.34) & (np.maximum(abs(u), abs(v)) < 0.9)
    if shape == "star":
        return r < 0.68 + 0.3 * np.cos(5 * np.arctan2(v, u))
    raise ValueError(f"there is no shape {shape!r}")
