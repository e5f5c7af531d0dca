"""Credentials, where they must not be: parameters of runs are kept in databases, and shown.

One pattern for texts here, and for JSON schemas, by which Prefect's server and browsers check.
"""

import re
from typing import Annotated, Any

from pydantic import WithJsonSchema


def _any_case(word: str) -> str:
    """Browsers' patterns have no flag for it."""
    return re.sub("[a-z]", lambda letter: f"[{letter[0].upper()}{letter[0]}]", word)


_NAMES = "|".join(map(_any_case, ("sig", "signature", "password")))
SECRET = rf"//[^@\s]*:[^@\s]*@|[?&]({_any_case('x-amz-')}[\w-]+|{_NAMES}|\w*{_any_case('token')})="
"""What is surely one: what is merely hidden where it is shown, a user's name or a version, may be given."""
_REFUSED = {"not": {"type": "string", "pattern": SECRET}}

Plain = Annotated[str, WithJsonSchema({"type": "string"} | _REFUSED)]
"""A text whose JSON schema refuses credentials."""


def refuse_secrets(schema: Any) -> None:
    """Have a JSON schema refuse them in every text, and in every key that is not named by it. In place."""
    if isinstance(schema, list):
        for part in schema:
            refuse_secrets(part)
    elif isinstance(schema, dict):
        for name, part in schema.items():
            if name != "not":
                refuse_secrets(part)
        if schema.get("type") == "string" and "enum" not in schema:
            schema |= _REFUSED
        if isinstance(schema.get("additionalProperties"), dict):
            schema["propertyNames"] = _REFUSED
