"""Labelled images, and sets of them, as every reader gives them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, UInt8


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """One image with what is known of it.

    `labels`: class index per pixel, 255 where it does not count. `depth`: metres, 0 where not measured.
    """

    key: str
    image: UInt8[np.ndarray, "H W 3"] = field(repr=False)
    labels: UInt8[np.ndarray, "H W"] | None = field(default=None, repr=False)
    depth: Float[np.ndarray, "H W"] | None = field(default=None, repr=False)


class LabelledSet(ABC):
    """A sequence of labelled images, read from disk one at a time.

    Attributes:
        name: of the set, for tables.
        classes: the names of each class, in index order, the first its title. Empty for depth sets.
        background: index of the class that stands for everything unnamed, if the set has one.
        has_depth: whether every image has its depth.
    """

    name: str
    classes: tuple[tuple[str, ...], ...]
    background: int | None = None
    has_depth: bool = False

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> LabelledImage:
        """Raises `DataError` that names the file if it is missing, unreadable, or has an unknown label."""

    def __iter__(self) -> Iterator[LabelledImage]:
        return (self[i] for i in range(len(self)))
