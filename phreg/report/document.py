"""The page as one HTML file that needs nothing else: no script, no network, pictures and style inside."""

import base64
import hashlib
import io
import re
from dataclasses import replace
from importlib import resources
from typing import Any, NamedTuple
from xml.etree.ElementTree import tostring

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image, UnidentifiedImageError

from phreg.errors import DataError
from phreg.report import chart
from phreg.report.content import Curve, Panel, ReportPage, Table
from phreg.report.pictures import heat_stops

_INPUTS = re.compile(r'<meta name="phreg-inputs" content="([^"]*)">')
_NUMBER = re.compile(r"[-+]?[\d.,]+(e[-+]?\d+)?\s*(%|±.*|\w{1,3})?|-?")
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]")
"""Control characters, lone surrogates, and marks that turn the direction of the text after them."""
_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg"}


class Picture(NamedTuple):
    """A picture as the page holds it; sizes in pixels."""

    source: str
    width: int
    height: int


def render(page: ReportPage) -> str:
    """The page as HTML text; equal pages give equal text. Raises `DataError` for a picture that is none."""
    css, css_digest = style()
    return _ENVIRONMENT.get_template("page.html").render(
        page=page,
        parts=_parts(page),
        css=Markup(css),  # noqa: S704 (our own file)
        css_digest=css_digest,
        heat_stops=heat_stops(),
    )


def style() -> tuple[str, str]:
    """The style of our pages, and its SHA-256 as content security policies name it."""
    css = (resources.files(__package__) / "page.css").read_text()
    return css, base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()


def inputs_of(html: str) -> str | None:
    """The digest of what a rendered page was made from; None if it names none."""
    match = _INPUTS.search(html[:20_000])
    return match[1] if match else None


def _parts(page: ReportPage) -> list[tuple[str, str]]:
    """Anchor and title of the parts that have content, in the order of the page."""
    sections = [(f"section-{number}", section.title) for number, section in enumerate(page.sections, 1)]
    return [
        *([("measures", "Measures")] if page.measures else []),
        *sections,
        *([("training", "Training")] if page.curves else []),
        *([("load", "Load it")] if page.loading else []),
        *([("making", "How it was made")] if page.making else []),
        *([("lineage", "Lineage")] if page.lineage or page.config else []),
    ]


def _numeric_columns(content: Table) -> list[bool]:
    def texts(column: int) -> list[str]:
        cells = [row[column] for row in content.rows]
        return [cell if isinstance(cell, str) else cell.text for cell in cells]

    columns = range(len(content.columns))
    return [i > 0 and all(_NUMBER.fullmatch(text.strip()) for text in texts(i)) for i in columns]


def _picture(panel: Panel) -> Picture:
    """Raises `DataError` for what is no PNG and no JPEG."""
    try:
        with Image.open(io.BytesIO(panel.picture), formats=list(_TYPES)) as picture:
            data = base64.b64encode(panel.picture).decode()
            return Picture(f"data:{_TYPES[str(picture.format)]};base64,{data}", *picture.size)
    except UnidentifiedImageError:
        raise DataError(
            f"The picture {panel.caption!r} cannot stand on a report page",
            expected="PNG or JPEG bytes",
            found=repr(panel.picture[:8]),
        ) from None


def _chart(curve: Curve) -> Markup:
    drawn = chart.draw(replace(curve, title=_fit(curve.title)))
    return Markup(tostring(drawn, encoding="unicode", method="html"))  # noqa: S704 (escaped)


def _fit(value: Any) -> Any:
    """What an expression gives, with all that no page may hold replaced by U+FFFD."""
    return _UNFIT.sub("\ufffd", value) if type(value) is str else value


_ENVIRONMENT = Environment(
    loader=PackageLoader(__package__, ""), autoescape=True, finalize=_fit, undefined=StrictUndefined
)
_ENVIRONMENT.globals |= {"numeric_columns": _numeric_columns, "data_uri": _picture, "chart": _chart}
