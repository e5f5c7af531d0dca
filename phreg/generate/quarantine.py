"""How many samples may be quarantined before a run fails, and what it then says."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from phreg.errors import GenerationError

REASONS_SHOWN, SHARDS_SHOWN, KEYS_SHOWN = 8, 10, 5
_PARTICULARS = re.compile(r"b?'[^']*'|b?\"[^\"]*\"|\d+")  # what differs between samples of one trouble

LeftOut = tuple[str, str, str]
"""Shard, key and reason of a quarantined sample."""


def most_allowed(share: float, samples: int) -> int:
    """How many of `samples` may be left out: one bad image never stops a run, unless none may be."""
    return max(1, math.floor(share * samples + 1e-9)) if share > 0 else 0  # 0.29 * 100 is below 29


def check_quarantined(what: str, left_out: Sequence[LeftOut], samples: int, share: float) -> None:
    """Raise `GenerationError` with a summary if more samples of `what` were left out than may be."""
    allowed = most_allowed(share, samples)
    if len(left_out) <= allowed:
        return
    raise GenerationError(
        f"{len(left_out)} of {samples} samples cannot be used for {what}",
        expected=f"at most {allowed} (max_quarantined is {share:g}, a share of all samples)",
        found=_by_reason(left_out) + _by_shard(left_out),
        remedy="repair these images, or raise max_quarantined; what was made is kept, and the next run goes "
        "on from it at once; `phreg cache quarantined CACHE` lists them all",
    )


def kind_of(reason: str) -> str:
    """A reason without what is particular to the sample: numbers and quoted bytes."""
    return _PARTICULARS.sub("*", reason)


def _by_reason(left_out: Sequence[LeftOut]) -> str:
    counts = Counter(kind_of(reason) for _, _, reason in left_out)
    lines = [f"{count} x {kind}" for kind, count in counts.most_common(REASONS_SHOWN)]
    rest = sum(counts.values()) - sum(count for _, count in counts.most_common(REASONS_SHOWN))
    return _indented([*lines, f"{rest} x other reasons"] if rest else lines)


def _by_shard(left_out: Sequence[LeftOut]) -> str:
    keys: dict[str, list[str]] = {}
    for shard, key, _ in left_out:
        keys.setdefault(shard, []).append(key)
    lines = [f"{shard}: {_first(of_shard)}" for shard, of_shard in list(keys.items())[:SHARDS_SHOWN]]
    rest = len(keys) - len(lines)
    return _indented([*lines, f"and {rest} more shards"] if rest else lines)


def _first(keys: Sequence[str]) -> str:
    more = len(keys) - KEYS_SHOWN
    return ", ".join(keys[:KEYS_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _indented(lines: Iterable[str]) -> str:
    return "".join(f"\n    {line}" for line in lines)
