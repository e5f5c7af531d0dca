"""Parameters of flows as Prefect's server checks them, before there is a run: by JSON schemas."""

from typing import Any

from prefect import Flow

# What `phreg.config.reading` refuses, as a regular expression for Python and browsers alike.
_SECRET = r"//[^@\s]*:[^@\s]*@|[?&]([Xx]-[Aa]mz-[\w-]+|[Ss]ig|[Ss]ignature|\w*[Tt]oken|[Pp]assword)="  # noqa: S105


def refuse_credentials(*flows: Flow[..., Any]) -> None:
    """In any text: the server keeps parameters in its database, and shows them."""
    for flow in flows:
        _refuse(flow.parameters.properties)
        _refuse(flow.parameters.definitions)


def _refuse(schema: Any) -> None:
    if isinstance(schema, dict):
        if schema.get("type") == "string" and "enum" not in schema:
            schema["not"] = {"pattern": _SECRET}
        for part in schema.values():
            _refuse(part)
    elif isinstance(schema, list):
        for part in schema:
            _refuse(part)
