"""Sections as stored objects: JSON, pictures in base64."""

from pydantic import TypeAdapter, ValidationError

from phreg.errors import DataError
from phreg.report.content import Section

_ADAPTER = TypeAdapter(Section)


def section_to_json(section: Section) -> bytes:
    """Equal sections give equal bytes."""
    return _ADAPTER.dump_json(section)


def section_from_json(data: bytes, where: str) -> Section:
    """Raises `DataError` that names the object if it is no section."""
    try:
        return _ADAPTER.validate_json(data)
    except ValidationError as error:
        raise DataError(
            f"Cannot read the section {where} of a report page",
            found=str(error.errors()[0]["msg"]),
            remedy="remove it; the next run makes it again",
        ) from None
