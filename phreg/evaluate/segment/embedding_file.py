"""Class embeddings from a file, for networks whose text tower is not at hand.

| file           | holds                                                                            |
| -------------- | -------------------------------------------------------------------------------- |
| `.npy`         | one row a class, in the set's order; a background may have none, see below        |
| `.safetensors` | vectors under names; a class takes those of its own names that the file has       |

Both of floats of any length, which are made unit. Where `background_threshold` says what background is, the
background needs no vector of its own.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from phreg.errors import CheckpointError, ConfigError
from phreg.evaluate.segment.class_names import ClassEmbeddings
from phreg.fingerprint import digest_bytes
from phreg.models.weight_files import FLOATS, parse_state_dict
from phreg.storage import open_url

MAX_BYTES = 1 << 26
"""Of a file: 255 classes of width 4096 in float64 take an eighth of it."""
_LAYOUT = "a float array [classes, width] (`numpy.save`), or vectors under class names (safetensors)"


@dataclass(frozen=True, eq=False)
class EmbeddingFile:
    """Vectors of one width, all finite, none zero: rows in order, or by `names`. `digest`: of the bytes."""

    source: str
    digest: str
    vectors: Float[Tensor, "n C"] = field(repr=False)
    names: tuple[str, ...] | None

    @property
    def out_dim(self) -> int:
        return self.vectors.shape[1]

    def for_classes(self, classes: Sequence[Sequence[str]], background: int | None = None) -> ClassEmbeddings:
        """The vectors of a set's classes. `background`: a class that may go without.

        Raises `ConfigError` for another number of classes, or a class without a vector.
        """
        if self.names is not None:
            return self._by_name(classes, background)
        owners = list(range(len(classes)))
        if len(self.vectors) == len(owners) - 1 and background is not None:
            owners.remove(background)
        if len(self.vectors) != len(owners):
            raise ConfigError(
                f"The class embeddings in {self.source} are not of these classes",
                expected=f"{len(classes)} rows, one a class" + self._or_without(background),
                found=f"{len(self.vectors)}",
                remedy="give each set a file of its own (labels.sets[].text), its rows in the set's order",
            )
        return ClassEmbeddings(self.vectors, torch.tensor(owners))

    def _by_name(self, classes: Sequence[Sequence[str]], background: int | None) -> ClassEmbeddings:
        assert self.names is not None
        row = {name: index for index, name in enumerate(self.names)}
        found = [[row[name] for name in of_class if name in row] for of_class in classes]
        lost = [c[0] for i, c in enumerate(classes) if not found[i] and i != background]
        if lost:
            raise ConfigError(
                f"{self.source} has no embedding of {len(lost)} of the {len(classes)} classes",
                expected=f"one under a name of each, such as {lost[0]!r}",
                found=f"nothing for {', '.join(map(repr, lost[:5]))}; there are "
                f"{', '.join(map(repr, sorted(self.names)[:5]))}",
                remedy="name the vectors as the set names its classes",
            )
        owner = torch.tensor([index for index, rows in enumerate(found) for _ in rows])
        return ClassEmbeddings(self.vectors[[at for rows in found for at in rows]], owner)

    @staticmethod
    def _or_without(background: int | None) -> str:
        return "" if background is None else " (or one fewer: none for the background)"


def read_embedding_file(place: str) -> EmbeddingFile:
    """Raises `ConfigError` for what is no such file; `ObjectNotFoundError`, `StorageError`."""
    with open_url(place) as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise _unusable(place, f"more than {MAX_BYTES >> 20} MiB")
    named = place.lower().endswith(".safetensors")
    names, vectors = _named(data, place) if named else (None, _array(data, place))
    if not torch.isfinite(vectors).all():
        raise _unusable(place, "NaN or Inf")
    length = vectors.double().norm(dim=1, keepdim=True)
    odd = ((length == 0) | ~torch.isfinite(length)).flatten().nonzero().flatten().tolist()
    if odd:
        raise _unusable(place, f"a vector of length {length[odd[0]].item():g}, number {odd[0]}")
    unit = (vectors.double() / length).float()
    return EmbeddingFile(place, digest_bytes(data), unit, names)


def _named(data: bytes, place: str) -> tuple[tuple[str, ...], Tensor]:
    if data[8:9] != b"{":
        raise _unusable(place, "no safetensors file")
    try:
        state = parse_state_dict(data, place)
    except CheckpointError as error:
        raise _unusable(place, error.found or error.problem) from None
    vectors = {name: value.squeeze(0) if value.ndim == 2 else value for name, value in state.items()}
    odd = [name for name, value in vectors.items() if value.ndim != 1 or value.dtype not in FLOATS]
    widths = {len(value) for name, value in vectors.items() if name not in odd}
    if odd or len(widths) != 1 or widths == {0}:
        found = f"{odd[0]!r} is none" if odd else f"widths {sorted(widths) or 'of nothing'}"
        raise _unusable(place, f"{found[:200]}; each tensor is to be one vector, all of one width")
    return tuple(vectors), torch.stack([value.double() for value in vectors.values()])


def _array(data: bytes, place: str) -> Tensor:
    """As `numpy.load(allow_pickle=False)`, but the header's claims are checked before anything is made."""
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, kind = read(file)
    except Exception as error:  # the header is Python's own syntax, and fails in as many ways
        raise _unusable(place, f"no .npy file: {str(error)[:200]}") from None
    if kind.kind != "f" or len(shape) != 2 or min(shape) < 1:
        raise _unusable(place, f"an array {list(shape)} of {kind}")
    if math.prod(shape) * kind.itemsize != len(data) - file.tell():
        raise _unusable(place, f"{len(data) - file.tell()} bytes for an array {list(shape)} of {kind}")
    file.seek(0)
    return torch.from_numpy(np.load(file, allow_pickle=False).astype(np.float64))


def _unusable(place: str, found: str) -> ConfigError:
    return ConfigError(f"{place} cannot be read as class embeddings", expected=_LAYOUT, found=found)
