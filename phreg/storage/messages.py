"""What went wrong in a store, in our words, without credentials."""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import fsspec.config

from phreg.errors import (
    AccessDeniedError,
    ObjectNotFoundError,
    PermanentStorageError,
    PhregError,
    StorageError,
    hide_credentials,
)
from phreg.storage.advice import advice, is_path
from phreg.storage.answer import http_status, store_code

_SECRET = re.compile(r"SECRET|TOKEN|PASSWORD|KEY(_ID)?$", re.IGNORECASE)


@contextlib.contextmanager
def explained(action: str, url: str, options: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Turn a file system's errors into ours, with the object's name and no option or credential.

    Without a cause, too: a traceback would print its text.
    """
    try:
        yield
    except PhregError:
        raise
    except Exception as error:
        if _is_missing(error, action):
            raise _not_found(error, f"Cannot {action} {shown(url)}", url) from None
        code = f" ({store_code(error)})" if store_code(error) else ""
        found = redacted(f"{type(error).__name__}{code}: {error}", options or {})[:300]
        remedy, lasting = advice(error, url)
        refused = AccessDeniedError if _is_denied(error) else StorageError
        kind = PermanentStorageError if lasting else refused
        raise kind(f"Cannot {action} {shown(url)}", found=found, remedy=remedy) from None


def _is_missing(error: Exception, action: str) -> bool:
    """Below a file there is nothing to read, but when writing that file is in the way."""
    below_a_file = isinstance(error, NotADirectoryError) and action != "write"
    return isinstance(error, FileNotFoundError | IsADirectoryError) or below_a_file


def _is_denied(error: Exception) -> bool:
    """Credentials that are past their time, or none at all, are another matter."""
    local = isinstance(error, PermissionError) and error.errno is not None
    return (
        local
        or store_code(error) in ("AccessDenied", "403")
        or (not store_code(error) and http_status(error) == 403)
    )


def _not_found(error: Exception, problem: str, url: str) -> ObjectNotFoundError:
    if isinstance(error, IsADirectoryError):
        return ObjectNotFoundError(problem, "a file", "a folder", "give the path of a file")
    if is_path(url):
        return ObjectNotFoundError(problem, "a file there", "none, or no such folder", "check the path")
    if store_code(error) == "NoSuchBucket":
        expected, found = "a bucket of that name", "none"
    else:
        expected, found = "an object there", "none, or no such bucket or folder"
    server = "; also that the bucket exists and AWS_ENDPOINT_URL names its server"
    remedy = "check the URL" + server * url.startswith(("s3:", "s3a:"))
    return ObjectNotFoundError(problem, expected, found, remedy)


def shown(url: str) -> str:
    """A URL or a name on one line, without the credentials it may carry: user information, and the query of a
    signed URL."""
    return hide_credentials(url).replace("\n", r"\n").replace("\t", r"\t")


def redacted(text: str, options: Mapping[str, Any]) -> str:
    """The text without any option's value, or credential of the environment or of fsspec's configuration
    (`FSSPEC_S3` and its files)."""
    secrets = set(_secrets(os.environ)) | set(_secrets(fsspec.config.conf))
    for secret in sorted(secrets | set(_strings(options)), key=len, reverse=True):
        text = text.replace(secret, "***")
    return hide_credentials(text)


def _secrets(settings: Mapping[str, Any]) -> Iterator[str]:
    """Values, at any depth, whose name says that they are secret."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _secrets(value)
        elif isinstance(value, str) and _SECRET.search(name) and len(value) >= 8:
            yield value


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str) and len(value) >= 4:
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, Iterable) and not isinstance(value, str | bytes):
        for item in value:
            yield from _strings(item)
