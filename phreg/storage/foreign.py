"""Places as other tools write them, which here would mean something else, or nothing: told what to write.

open_clip joins shards by `::`, which in fsspec chains file systems (`simplecache::s3://...`); webdataset
reads the output of commands (`pipe:`); command lines join by commas, spaces or colons.
"""

import contextlib
import json
import os
import re
from collections.abc import Callable, Sequence

_JOINTS = re.compile(r"::|(?<=[.]tar):(?=\S)|\s*[,;|]\s*|\s+")
_WRAPPERS = {
    *("simplecache", "filecache", "blockcache", "cached"),
    *("zip", "tar", "libarchive", "reference", "dir"),
}
_RANGE = re.compile(r"([\[(<{])(\d+)\s*([.]{2,}|-|:|,?[.]+,?)\s*(\d+)[\])>}]")
_FORMAT = re.compile(r"%0?\d*d")


def check_place(place: str) -> None:
    """Raise `ValueError`, with what to write, for what is not one path or URL."""
    _check(place, lambda parts: f"give one at a time: {', '.join(parts)}")


def _check(place: str, several: Callable[[Sequence[str]], str]) -> None:
    if place.startswith("pipe:"):
        url = re.search(r"\b[a-z][a-z0-9]+://[^\s'\"]+", place)
        instead = f": {url[0]}" if url else ", for instance s3://BUCKET/NAME.tar"
        raise ValueError(f"no command is run to read a place; give its URL itself{instead}")
    if "//[" in place and "::" in place:
        raise ValueError("an address with `::` cannot be read here; give the host by its name")
    if _is_chain(place):
        parts = place.split("::")
        if parts[0].partition("://")[0] in _WRAPPERS:
            raise ValueError(
                f"`::` chains file systems, which are not used here; give the URL itself: {parts[-1]} (an "
                "archive is to be unpacked first)"
            )
        raise ValueError(f"`::` joins no places here; {several(parts)}")


def check_pattern(pattern: str) -> None:
    """Raise `ValueError`, with what to write, for what is no pattern of shards but several, or a folder."""
    _check(pattern, _as_list)
    parts = [part for part in _split(pattern) if part]
    if len(parts) > 1 and all(re.search(r"[.]tar\b", part) for part in parts) and not _is_file(pattern):
        raise ValueError(f"several places in one; {_as_list(parts)}")
    if wrong := next((found for found in _RANGE.finditer(pattern) if not _is_meant(found)), None):
        raise ValueError(
            f"{wrong[0]!r} is no range, which is two numbers with two dots between; did you mean "
            f"{{{wrong[2]}..{wrong[4]}}}?"
        )
    if wrong := _FORMAT.search(pattern):
        raise ValueError(f"{wrong[0]!r} is no range; write one, for instance {{000000..000127}}")
    if pattern.endswith("/") or ("://" not in pattern and os.path.isdir(os.path.expanduser(pattern))):
        raise ValueError(f"a folder; write which files of it are shards: {pattern.rstrip('/')}/*.tar")


def _is_meant(found: re.Match[str]) -> bool:
    """`{0..9}` is a range, `[0-9]` any one digit; `a(1-2).tar` and a folder `{1-2}` are only called so."""
    bracket, first, between, last = found.groups()
    if ".." in between:
        return bracket == "{" and between == ".."
    in_folder = "/" in found.string[found.end() :]
    return in_folder or bracket in "(<" or (bracket, between, len(first + last)) == ("[", "-", 2)


def is_one_place(place: str) -> bool:
    """Whether `check_place` lets it pass."""
    with contextlib.suppress(ValueError):
        check_place(place)
        return True
    return False


def _is_chain(place: str) -> bool:
    """Whether fsspec would take it for a chain of file systems. A file that is called so is none."""
    return "::" in place and not _is_file(place)


def _is_file(place: str) -> bool:
    return "://" not in place and os.path.exists(os.path.expanduser(place))


def _as_list(parts: Sequence[str]) -> str:
    return f"write a list: {json.dumps([part.strip() for part in parts], ensure_ascii=False)}"


def _split(pattern: str) -> list[str]:
    """At what may join places; within braces a comma is part of a place."""
    inside = re.compile(r"\{[^{}]*\}")
    kept = inside.sub(lambda braces: "\0" * len(braces[0]), pattern)
    parts, start = [], 0
    for joint in _JOINTS.finditer(kept):
        parts.append(pattern[start : joint.start()])
        start = joint.end()
    return [*parts, pattern[start:]]
