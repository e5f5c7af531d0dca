"""The report page of a registered student: one self-contained HTML file."""

from phreg.report.content import (
    Cell,
    ColourBar,
    Curve,
    Fact,
    Panel,
    PictureGroup,
    ReportPage,
    Section,
    Swatch,
    Table,
)
from phreg.report.document import inputs_of, render, style
from phreg.report.pictures import colour_png, heat_png, label_map_png, photo, swatches, tile_places
from phreg.report.stored import section_from_json, section_to_json

__all__ = [
    "Cell",
    "ColourBar",
    "Curve",
    "Fact",
    "Panel",
    "PictureGroup",
    "ReportPage",
    "Section",
    "Swatch",
    "Table",
    "colour_png",
    "heat_png",
    "inputs_of",
    "label_map_png",
    "photo",
    "render",
    "section_from_json",
    "section_to_json",
    "style",
    "swatches",
    "tile_places",
]
