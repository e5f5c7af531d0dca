"""The errors a user can meet, each saying what was wrong, what was expected and what to do.

PhregError
├── ConfigError            a config that must not start a run            (also a ValueError)
├── StorageError           an object store that refuses
│   ├── ObjectNotFoundError    one object, or its bucket or folder, is not there
│   ├── AccessDeniedError      credentials that are good, but not for this object
│   ├── PermanentStorageError  a store that would answer the same again
│   └── DownloadError          a model hub that does not give what was asked for
├── DataError
│   ├── ShardError         a shard that cannot be trusted as a whole
│   └── SampleError        one sample that cannot be used: quarantined, never fatal
├── ModelError             a model name, size or option that cannot work (also a ValueError)
│   └── CheckpointError    weights that do not fit, or are not safe to read
├── NonFiniteError         NaN or Inf where features were made
├── CacheError
│   ├── SpecMismatchError      a cache made with another target spec
│   ├── ContentMismatchError   another shard content under a committed name
│   ├── CorruptTargetsError    bytes that differ from their commit record
│   └── MissingTargetsError    no committed targets for a shard or key
├── GenerationError        shards that could not be done, after the others were
├── ClusterError           a Ray cluster that was lost under way
├── TrainingError
└── RegistryError
"""

import re

from phreg.types import Damage


def printable(text: str) -> str:
    """Text that every terminal, file and figure takes: what is not printable is escaped, line by line.

    That is lone surrogates (in names of files that are not UTF-8), control characters, and marks that turn
    the direction of the text after them.
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else ascii(letter)[1:-1] for letter in text
    )


def hide_credentials(text: str) -> str:
    """Printable text without what URLs in it may carry: user information, and the query of a signed URL.

    A query is what follows a `?` and, but for http(s), names a value: in `s3://bucket/photos-00000?.tar`
    and in `year=202?/month=*` the `?` is a glob. In time linear in the text.
    """
    without = re.sub(r"\S+", _without_secrets, printable(text))
    return re.sub(r"([?&])[^?&=/\s]*=\S*", r"\1***", without)


def _without_secrets(word: re.Match[str]) -> str:
    head, mark, query = _without_user(word[0]).partition("?")
    hidden = query and re.search(r"https?://", head)
    return f"{head}?***" if hidden else f"{head}{mark}{query}"


def _without_user(word: str) -> str:
    """A password may hold a slash and more: where there is a colon, all up to the last @ is hidden."""
    before, at, after = word.rpartition("@")
    start, slashes, user = before.partition("//")
    if at and slashes and (":" in user or "/" not in user):
        return f"{start}//***@{after}"
    return re.sub(r"//[^/@]+@", "//***@", word)


class PhregError(Exception):
    """Base of all errors phreg raises on purpose. Its parts hold no credentials of URLs.

    All four parts are positional arguments, so that the error survives pickling (Ray pickles it).
    `under_way` is set where work had been begun when it was raised.
    """

    under_way = False

    def __init__(self, problem: str, expected: str = "", found: str = "", remedy: str = "") -> None:
        parts = [hide_credentials(part) for part in (problem, expected, found, remedy)]
        super().__init__(*parts)
        self.problem, self.expected, self.found, self.remedy = parts

    def __str__(self) -> str:
        parts = [self.problem.rstrip(".")]
        parts += [f"expected: {self.expected}"] if self.expected else []
        parts += [f"found: {self.found}"] if self.found else []
        parts += [f"what to do: {self.remedy}"] if self.remedy else []
        return "\n  ".join(parts)


class ConfigError(PhregError, ValueError):
    """A config that must not start a run."""


class StorageError(PhregError):
    """An object store that refuses: no bucket, no permission, no connection."""


class ObjectNotFoundError(StorageError):
    """An object, or the bucket or folder that should hold it, is not there."""


class AccessDeniedError(StorageError):
    """No permission for an object. Where listing is not allowed, stores say so of what is not there too."""


class PermanentStorageError(StorageError):
    """A store that would answer the same again: something about it, or about how it is asked, must change."""


class DownloadError(StorageError):
    """A model hub that cannot be reached, or refuses; it may have been asked too much."""


class DataError(PhregError):
    """Images or shards that cannot be used."""


class ShardError(DataError):
    """A shard that cannot be trusted as a whole (cut short, empty, duplicate keys)."""


class SampleError(DataError):
    """One sample that cannot be used. It is quarantined by key; it never stops a run."""


class ModelError(PhregError, ValueError):
    """A model name, size or option that cannot work."""


class CheckpointError(ModelError):
    """Weights that do not fit the model, or are not safe to read."""


class NonFiniteError(PhregError):
    """Dense features that came out NaN or Inf."""


class CacheError(PhregError):
    """A target cache that cannot serve what was asked."""


class SpecMismatchError(CacheError):
    """A cache that was made with another target spec."""


class ContentMismatchError(CacheError):
    """A shard whose content differs from the one committed under its name."""


class CorruptTargetsError(CacheError):
    """Stored bytes that differ from their commit record. `damage` says where, if a store raised it."""

    damage: Damage | None = None


class MissingTargetsError(CacheError):
    """No committed targets for a shard or a key. `damage` names a shard that was expected to be there."""

    damage: Damage | None = None


class GenerationError(PhregError):
    """Shards whose targets could not be made; raised after all other shards were done."""


class ClusterError(PhregError):
    """A Ray cluster that was lost under way, or a local one that does not start."""


class TrainingError(PhregError):
    """A distillation that cannot go on."""


class RegistryError(PhregError):
    """A registry entry that is missing, incomplete or altered."""


def is_permanent_error(error: Exception) -> bool:
    """Whether an error of ours would come again: all but storage that does not answer."""
    lasting = isinstance(error, ObjectNotFoundError | PermanentStorageError)
    passing = isinstance(error, StorageError) and not lasting
    return isinstance(error, PhregError) and not passing
