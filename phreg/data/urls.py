"""From what a user writes to the list of shards: brace ranges, globs and lists."""

import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from braceexpand import braceexpand

from phreg.errors import ConfigError, hide_credentials
from phreg.storage import glob_url
from phreg.storage.foreign import check_pattern, check_place

MAX_URLS = 1_000_000
MAX_NAME_BYTES = 200  # a path component has 255; the cache adds an attempt to it


class Kind(NamedTuple):
    """What a pattern stands for."""

    one: str
    check: Callable[[str], None]
    remedy: str = ""


SHARDS = Kind("shard", check_pattern, "; `phreg pack IMAGES OUT` makes shards of images")
IMAGES = Kind("image", check_place)
_RANGE = re.compile(r"\{(-?\d+)\.\.(-?\d+)")
_LEFT = re.compile(r"\{[^{}/]*\.\.[^{}/]*\}|\{[^{}/]*\}(?=[^/]*$)")
_NAME = re.compile(r"\w[\w.+=@,~ -]*")


def expand_urls(patterns: Sequence[str]) -> list[str]:
    """Shard URLs in the order written (a glob's sorted), without duplicates.

    A pattern may hold brace ranges (`photos-{000000..000005}.tar`, `{a,b}.tar`) and globs (`*`, `?`,
    `[...]`; in http URLs `?` is no glob). A plain path or URL passes as it is: reading it finds out
    whether it is there. Raises `ConfigError` for a glob without a match, and for two shards of one
    name: targets are stored by shard name.
    """
    shards: dict[str, str] = {}
    places: dict[str, str] = {}
    for url in _expanded([patterns] if isinstance(patterns, str) else patterns):
        name, place = shard_name(url), _place(url)
        if name not in shards:
            shards[name], places[name] = url, place
        elif places[name] != place:
            raise ConfigError(
                f"Two shards share the name {name!r}",
                expected="a file name of its own for each shard, in whatever folder",
                found=f"{shards[name]} and {url}",
                remedy="rename one of them, or leave it out",
            )
    return list(shards.values())


def expand_images(patterns: Sequence[str]) -> list[str]:
    """Paths and URLs of single images in the order written, globs and brace ranges expanded as of shards.

    A file that is called so, glob or not, is meant by its name. Raises `ConfigError` for a glob that
    matches nothing.
    """
    images: dict[str, None] = {}
    for pattern in patterns:
        literal = "://" not in pattern and os.path.exists(os.path.expanduser(pattern))
        images |= dict.fromkeys([pattern] if literal else _expanded([pattern], IMAGES))
    return list(images)


def shard_name(url: str) -> str:
    """`photos-000000` of `s3://bucket/photos-000000.tar`: a safe path component, or `ConfigError`."""
    name = url.rpartition("/")[2].removesuffix(".tar")
    if not _NAME.fullmatch(name) or name.endswith((" ", ".")) or len(name.encode()) > MAX_NAME_BYTES:
        raise ConfigError(
            f"The shard {url[:300]!r} has a name that cannot be used in paths",
            expected=f"a file NAME.tar; NAME of letters, digits and any of . _ - + = @ , ~ or space, starts "
            f"with a letter, digit or _, at most {MAX_NAME_BYTES} bytes",
            found=repr(name[:200]),
            remedy="rename the shard; credentials go into the environment, not into the URL",
        )
    return name


def _expanded(patterns: Iterable[str], kind: Kind = SHARDS) -> Iterator[str]:
    for pattern in patterns:
        _check(pattern, kind)
        for url in _braces(pattern):
            yield from _matches(url, pattern, kind) if _has_glob(url) else (url,)


def _check(pattern: str, kind: Kind) -> None:
    try:
        kind.check(pattern)
    except ValueError as error:
        raise ConfigError(f"{pattern[:300]!r} is no {kind.one}", found=str(error)) from None


def _braces(pattern: str) -> list[str]:
    try:
        spans = [abs(int(last) - int(first)) for first, last in _RANGE.findall(pattern)]
        if any(span >= MAX_URLS for span in spans):  # braceexpand would make them all first
            raise _too_many(pattern)
        urls = list(itertools.islice(braceexpand(pattern), MAX_URLS + 1))
        _check_ranges(urls, pattern)
    except ConfigError:
        raise
    except ValueError:
        raise ConfigError(
            f"The braces of {pattern!r} cannot be expanded",
            expected="balanced braces, for instance photos-{000000..000005}.tar",
        ) from None
    if len(urls) > MAX_URLS:
        raise _too_many(pattern)
    return urls


def _check_ranges(urls: Sequence[str], pattern: str) -> None:
    """braceexpand leaves braces that are no range or list as they are; a folder may be called so.

    Raises `ConfigError`.
    """
    wrong = next((url for url in urls if _LEFT.search(url)), "")
    if left := _LEFT.search(hide_credentials(wrong)):
        raise ConfigError(
            f"The braces {left[0][:100]!r} of {pattern!r} are no range and no list",
            expected="two numbers, for instance {000000..000005}, or a list {a,b}",
            remedy="mend the range",
        )


def _too_many(pattern: str) -> ConfigError:
    return ConfigError(f"{pattern!r} stands for too many shards", expected=f"at most {MAX_URLS}")


def _has_glob(url: str) -> bool:
    return bool(re.search(r"[*\[]" if url.startswith(("http://", "https://")) else r"[*?\[]", url))


def _matches(glob: str, pattern: str, kind: Kind) -> list[str]:
    urls = glob_url(glob)
    if not urls:
        raise ConfigError(
            f"No {kind.one} matches {glob!r}" + (f" (from {pattern!r})" if glob != pattern else ""),
            expected="at least one file",
            found="none, or no such bucket or folder" if "://" in glob else "none, or no such folder",
            remedy=f"check the pattern and the place{kind.remedy}",
        )
    return urls


def _place(url: str) -> str:
    """The same for two spellings of one local path, so that they are one shard."""
    if "://" in url and not url.startswith("file://"):
        return url
    return os.path.abspath(os.path.expanduser(url.removeprefix("file://")))
