"""Pictures on the page: inside the file as data URIs, each with its caption and an alternative text."""

import base64
import io
from collections.abc import Sequence
from xml.etree.ElementTree import Element

from PIL import Image, UnidentifiedImageError

from phreg.errors import DataError
from phreg.report.content import ColourBar, Panel, PictureGroup, Swatch
from phreg.report.markup import element
from phreg.report.pictures import heat_stops

_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg"}


def group(content: PictureGroup) -> Element:
    """The panels of one image, with what their colours mean."""
    return element(
        "section",
        element("h3", content.title),
        element("div", *(_panel(panel) for panel in content.panels), class_="panels"),
        _bar(content.bar) if content.bar else None,
        _legend(content.swatches) if content.swatches else None,
        class_="group",
    )


def _panel(panel: Panel) -> Element:
    kind, (width, height) = _measured(panel)
    source = f"data:{kind};base64,{base64.b64encode(panel.picture).decode()}"
    image = element(
        "img",
        src=source,
        alt=panel.alt,
        width=str(width),
        height=str(height),
        class_="pixelated" if panel.pixelated else None,
    )
    frame = element("div", image, _marks(panel.marks, width, height), class_="frame")
    caption = element("figcaption", panel.caption)
    classes = [name for name in ("wide", "double") if getattr(panel, name)]
    return element("figure", frame, caption, class_=" ".join(classes) or None)


def _measured(panel: Panel) -> tuple[str, tuple[int, int]]:
    """Media type and size in pixels. Raises `DataError` for what is no PNG and no JPEG."""
    try:
        with Image.open(io.BytesIO(panel.picture), formats=list(_TYPES)) as picture:
            return _TYPES[str(picture.format)], picture.size
    except UnidentifiedImageError:
        raise DataError(
            f"The picture {panel.caption!r} cannot stand on a report page",
            expected="PNG or JPEG bytes",
            found=repr(panel.picture[:8]),
        ) from None


def _marks(marks: Sequence[tuple[int, int]], width: int, height: int) -> Element | None:
    """Frames around pixels, drawn over the picture in its own coordinates."""
    if not marks:
        return None
    path = "".join(f"M{column + 0.1:g} {row + 0.1:g}h.8v.8h-.8z" for row, column in marks)
    return element(
        "svg", element("path", d=path), viewBox=f"0 0 {width} {height}", class_="marks", aria_hidden="true"
    )


def _bar(bar: ColourBar) -> Element:
    stops = heat_stops()
    strip = [
        element("rect", x=str(i), y="0", width="1.02", height="1", fill=colour)
        for i, colour in enumerate(stops)
    ]
    picture = element(
        "svg",
        *strip,
        viewBox=f"0 0 {len(stops)} 1",
        preserveAspectRatio="none",
        shape_rendering="crispEdges",
        aria_hidden="true",
    )
    return element("p", f"{bar.label} ", element("span", bar.low, picture, bar.high), class_="bar")


def _legend(swatches: Sequence[Swatch]) -> Element:
    items = []
    for swatch in swatches:
        square = element("rect", width="10", height="10", fill=swatch.colour)
        items.append(
            element("li", element("svg", square, viewBox="0 0 10 10", aria_hidden="true"), swatch.name)
        )
    return element("ul", *items, class_="legend")
