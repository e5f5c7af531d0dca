"""Random numbers that depend on what they are for: never on who draws them, when, or by which library."""

import hashlib
import math

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt64

_RANGE = 2**64


def derive_seed(seed: int, *scope: str | int) -> int:
    """A 63-bit seed for one purpose, for instance `derive_seed(0, "views", shard, key, crop)`.

    Distinct scopes give independent seeds: parts are length-prefixed, so ("a", "b") is not ("ab",).
    """
    return int.from_bytes(hashlib.sha256(_name(seed, *scope)).digest()[:8], "big") >> 1


class Draws:
    """The random numbers of one purpose, from our own bits: what a digest promises must not depend on how a
    library draws, which NumPy and PyTorch may change from one version to the next.

    Number n is bytes 8 n to 8 n + 7 of SHAKE-256 (FIPS 202) of seed and scope, big-endian. Made for some
    calls of many numbers each: every call hashes from the start.
    """

    def __init__(self, seed: int, *scope: str | int) -> None:
        self._stream, self._drawn = hashlib.shake_256(_name(seed, *scope)), 0

    def bits(self, count: int) -> UInt64[np.ndarray, " count"]:
        """The next numbers of 64 bits."""
        begin, self._drawn = self._drawn, self._drawn + count
        return np.frombuffer(self._stream.digest(8 * self._drawn)[8 * begin :], ">u8").astype(np.uint64)

    def uniform(self, count: int) -> Float64[np.ndarray, " count"]:
        """Even over [0, 1): multiples of 2^-53."""
        return (self.bits(count) >> np.uint64(11)) * 2.0**-53

    def centred(self, *shape: int) -> Float64[np.ndarray, "..."]:
        """Even around 0, with a standard deviation of 1."""
        return (2 * self.uniform(math.prod(shape)) - 1).reshape(shape) * 3**0.5

    def integers(self, low: int, high: int, count: int) -> Int64[np.ndarray, " count"]:
        """Even over low ... high, both included. Bits that would make some likelier are drawn again."""
        span = high - low + 1
        last_fair = np.uint64(_RANGE - _RANGE % span - 1)
        kept = np.empty(0, np.uint64)
        while len(kept) < count:
            bits = self.bits(count - len(kept))
            kept = np.concatenate([kept, bits[bits <= last_fair]])
        return (kept % np.uint64(span)).astype(np.int64) + low

    def coins(self, count: int) -> Bool[np.ndarray, " count"]:
        """Fair."""
        return self.integers(0, 1, count).astype(np.bool_)

    def permutation(self, count: int) -> Int64[np.ndarray, " count"]:
        """0 ... count - 1 in random order: sorted by 64 bits each, equal ones (of a million: once in 4e7
        times) left as they were."""
        return np.argsort(self.bits(count), kind="stable").astype(np.int64)


def derive_rng(seed: int, *scope: str | int) -> np.random.Generator:
    """NumPy's generator, whose draws may change with its version: for what no digest promises (drawn scenes,
    which are stored and known by their bytes; which targets are looked at again)."""
    return np.random.Generator(np.random.PCG64(derive_seed(seed, *scope)))


def _name(seed: int, *scope: str | int) -> bytes:
    texts = [str(part).encode() for part in scope]
    return str(seed).encode() + b"".join(f"|{len(text)}:".encode() + text for text in texts)
