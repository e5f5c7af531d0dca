"""What a store answered, as an error holds it: its code, its HTTP status, the region that it names."""

import re
from typing import Any

_TRY_LATER = (408, 409, 412, 423, 425, 429)


def store_code(error: BaseException) -> str:
    """The error code that an S3 server gave (s3fs keeps its answer as the cause), or nothing."""
    code = _response(error).get("Error", {}).get("Code", "")
    return str(code)


def http_status(error: BaseException) -> int | None:
    """Of S3's answer, or as the clients of other stores keep it."""
    status = _response(error).get("ResponseMetadata", {}).get("HTTPStatusCode")
    for name in ("status", "status_code", "code"):
        status = status or getattr(error, name, None)
    return status if isinstance(status, int) else None


def refuses(error: BaseException) -> bool:
    """Whether it says no, and not only for now."""
    status = http_status(error) or 0
    later = status in _TRY_LATER or store_code(error) == "RequestTimeout"  # a 400
    return not later and (400 <= status < 500 or status in (501, 505))


def region(error: BaseException) -> str | None:
    """Where the bucket is, if S3 says so when it was asked in another region."""
    response = _response(error)
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    named = str(response.get("Error", {}).get("Region") or headers.get("x-amz-bucket-region") or "")
    return named if re.fullmatch(r"[a-z0-9-]{2,40}", named) else None


def is_kind(error: BaseException, *names: str) -> bool:
    """Whether an error is of a class of one of these names: so that no client is imported to ask."""
    return not {kind.__name__ for kind in type(error).__mro__}.isdisjoint(names)


def _response(error: BaseException) -> dict[str, Any]:
    response: Any = getattr(error.__cause__, "response", None) or getattr(error, "response", None)
    return response if isinstance(response, dict) else {}
