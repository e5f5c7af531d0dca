"""Outliers among the tokens of one image: patches that a network uses as scratch space (arXiv 2309.16588).

Told by the norms of tokens inside the network, before the final norm makes them alike. Within one image
nothing says whether a token is large for its content; `evaluate/artifacts.py` asks neighbours and other
views, and is stricter.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

FACTOR = 2.0
MADS = 5.0
_MAD_TO_STD = 1.4826  # scales a median absolute deviation to the standard deviation of a normal distribution


def outliers(norms: Float[Tensor, "*batch P"], factor: float = FACTOR) -> Bool[Tensor, "*batch P"]:
    """Which norms are above `factor` times the median, and above it by `MADS` scaled median deviations.

    NaN stands for tokens that do not count, and is none.
    """
    typical = norms.nanquantile(0.5, -1, keepdim=True)
    spread = _MAD_TO_STD * (norms - typical).abs().nanquantile(0.5, -1, keepdim=True)
    return torch.where(
        norms.isfinite(), (norms > factor * typical) & (norms > typical + MADS * spread), False
    )
