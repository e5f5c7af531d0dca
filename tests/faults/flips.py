"""Flipped bits."""

import random
from collections.abc import Iterator

from phreg.storage import Folder


def flipped(data: bytes, bit: int) -> bytes:
    """The data with one bit turned."""
    place, mask = divmod(bit, 8)
    return data[:place] + bytes([data[place] ^ (1 << mask)]) + data[place + 1 :]


def flip(folder: Folder, path: str, seed: int, last: int | None = None) -> None:
    """Turn a random bit of an object; of its `last` bytes, if given."""
    data = folder.read(path)
    first = 0 if last is None else max(0, len(data) - last)
    folder.write(
        path,
        flipped(data, random.Random(f"{path.rpartition('/')[2]} {seed}").randrange(8 * first, 8 * len(data))),
    )


def all_flips(data: bytes) -> Iterator[bytes]:
    return (flipped(data, bit) for bit in range(8 * len(data)))
