"""Random numbers that depend on what they are for, never on who draws them or when."""

import hashlib

import numpy as np


def derive_seed(seed: int, *scope: str | int) -> int:
    """A 63-bit seed for one purpose, for instance `derive_seed(0, "views", shard, key, crop)`.

    Distinct scopes give independent seeds: parts are length-prefixed, so ("a", "b") is not ("ab",).
    """
    digest = hashlib.sha256(str(seed).encode())
    for part in scope:
        text = str(part).encode()
        digest.update(f"|{len(text)}:".encode() + text)
    return int.from_bytes(digest.digest()[:8], "big") >> 1


def derive_rng(seed: int, *scope: str | int) -> np.random.Generator:
    """A numpy generator (PCG64, named so that numpy's default may change) from `derive_seed`."""
    return np.random.Generator(np.random.PCG64(derive_seed(seed, *scope)))
