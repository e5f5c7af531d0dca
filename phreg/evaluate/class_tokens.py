"""What a student has kept of its teacher's class token: its direction, and which images are alike.

Shapes: n images, C width.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from phreg.method.view_features import check_finite
from phreg.models import Backbone
from phreg.progress import tell
from phreg.storage import Folder
from phreg.storage.checksummed import read_checksummed_tensors, to_checksummed_tensors

NEIGHBOURS = 5
FEWEST = 4 * NEIGHBOURS
"""Images without which neighbours are not counted: among few of them chance alone finds the same."""

Crops = UInt8[np.ndarray, "n S S 3"]


def class_token_metrics(own: Float[Tensor, "n C"], teacher: Float[Tensor, "n C"]) -> dict[str, float]:
    """The mean cosine; and of each image's `NEIGHBOURS` most similar images, by the teacher's class tokens,
    the share that are so by one's own too: not of few images."""
    found = {"class_token_cosine": float(F.cosine_similarity(own.double(), teacher.double()).mean())}
    if len(own) >= FEWEST:
        shared = _neighbours(own) & _neighbours(teacher)
        found["class_token_neighbours"] = float(shared.sum(1).double().mean() / NEIGHBOURS)
    return found


def _neighbours(tokens: Float[Tensor, "n C"]) -> Bool[Tensor, "n n"]:
    """Which images are near which."""
    unit = F.normalize(tokens.double(), dim=-1)
    closeness = (unit @ unit.T).fill_diagonal_(-torch.inf)
    nearest = closeness.topk(NEIGHBOURS, dim=1).indices
    return torch.zeros(closeness.shape, dtype=torch.bool).scatter_(1, nearest, True)


def class_tokens(backbone: Backbone, crops: Crops, device: str = "cpu") -> Float[Tensor, "n C"]:
    """On the CPU, one forward pass an image. Moves the model to `device`. Raises `NonFiniteError`."""
    backbone, found = backbone.on(device), []
    with torch.inference_mode():
        for crop in torch.from_numpy(crops):
            found.append(backbone.class_tokens(backbone.normalize(crop[None])).cpu())
            tell("reading class tokens", len(found), len(crops))
    tokens = torch.cat(found).clone()
    check_finite(tokens, "class tokens")
    return tokens


def kept_from_teacher(
    backbone: Backbone,
    teacher: Callable[[], Backbone],
    crops: Crops,
    device: str = "cpu",
    folder: Folder | None = None,
    benchmark: str = "",
) -> dict[str, float]:
    """The metrics of a model's class tokens. The teacher's are kept in `folder`, by their benchmark;
    `teacher` loads it where they are not there."""
    own = class_tokens(backbone, crops, device)
    path = f"{benchmark}.class.safetensors"
    stored = None if folder is None else read_checksummed_tensors(folder, path)
    if stored is not None:
        return class_token_metrics(own, stored["class_tokens"])
    network = teacher()
    made = own if network is backbone else class_tokens(network, crops, device)
    if folder is not None:
        folder.write(path, to_checksummed_tensors({"class_tokens": made}))
    return class_token_metrics(own, made)
