"""Class names as unit vectors in the space of a CLIP's features: prompts, their average, and its cache."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import open_clip
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own idiom)
from jaxtyping import Float, Int
from torch import Tensor

from phreg.errors import ConfigError
from phreg.fingerprint import digest_json
from phreg.method.view_features import check_finite
from phreg.models.text import TextTower
from phreg.storage import Folder
from phreg.storage.checksummed import read_checksummed_tensors, to_checksummed_tensors

Template = Callable[[str], str]
TEMPLATES: tuple[Template, ...] = tuple(open_clip.OPENAI_IMAGENET_TEMPLATES)
"""The 80 prompts of CLIP's ImageNet evaluation, as open_clip has them: each maps a name to a sentence."""

CHUNK = 32  # names embedded at once
_KEY = "embeddings"


class ClassEmbeddings(NamedTuple):
    """A unit vector a name, and the index of the class that the name belongs to (ascending)."""

    embeddings: Float[Tensor, "names C"]
    owner: Int[Tensor, " names"]


def class_embeddings(
    text: TextTower,
    classes: Sequence[Sequence[str]],
    templates: Sequence[Template] = TEMPLATES,
    folder: Folder | None = None,
) -> ClassEmbeddings:
    """Embeds every name of every class: the mean of its prompts' unit-norm features, made unit-norm again.

    Args:
        classes: the names of each class, in index order (`LabelledSet.classes`).
        folder: where embeddings are kept between runs, one safetensors object for one text tower and one
            list of prompts. An object that cannot be used is made anew.

    Raises `ConfigError` for a class without a name, `NonFiniteError`.
    """
    check_nameable(classes, templates)
    names = [name for of_class in classes for name in of_class]
    owner = torch.tensor([index for index, of_class in enumerate(classes) for _ in of_class])
    prompts = [[template(name) for template in templates] for name in names]
    path = f"text/{digest_json({'text': text.digest, 'prompts': prompts})}.safetensors"
    stored = None if folder is None else _read(folder, path, (len(names), text.out_dim))
    if stored is not None:
        return ClassEmbeddings(stored, owner)
    embeddings = torch.cat([_embed(text, prompts[i : i + CHUNK]) for i in range(0, len(prompts), CHUNK)])
    check_finite(embeddings, "text features of the class names")
    if folder is not None:
        folder.write(path, to_checksummed_tensors({_KEY: embeddings}))
    return ClassEmbeddings(embeddings, owner)


def _embed(text: TextTower, prompts: list[list[str]]) -> Float[Tensor, "names C"]:
    features = text([prompt for of_name in prompts for prompt in of_name])
    return F.normalize(features.unflatten(0, (len(prompts), -1)).mean(1), dim=-1).cpu()


def check_nameable(classes: Sequence[Sequence[str]], templates: Sequence[Template] = TEMPLATES) -> None:
    """Raises `ConfigError` for a class without a name, or no class at all."""
    if not classes or not templates:
        raise ConfigError("There is nothing to embed", expected="at least one class and one template")
    for index, names in enumerate(classes):
        if isinstance(names, str) or not names or not all(name.strip() for name in names):
            raise ConfigError(
                f"Class {index} cannot be named in a text",
                expected="one or more names, none of them empty",
                found=repr(names)[:100],
            )


def _read(folder: Folder, path: str, shape: tuple[int, int]) -> Float[Tensor, "names C"] | None:
    """The stored embeddings, or nothing if they are not there or not what was written."""
    found = (read_checksummed_tensors(folder, path) or {}).get(_KEY)
    if found is None or found.shape != shape or found.dtype != torch.float32:
        return None
    unit = (found.norm(dim=-1) - 1).abs() < 1e-3  # also false for NaN
    return found if bool(unit.all()) else None
