"""What a report page says, as plain data: the page, its sections, their tables and pictures."""

from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

_STRICT = ConfigDict(extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")

Fact = tuple[str, str]
"""A term and its description."""


@dataclass(frozen=True, config=_STRICT)
class Cell:
    """A table cell; `note` is smaller text below it, `best` stresses it."""

    text: str
    note: str = ""
    best: bool = False


@dataclass(frozen=True, config=_STRICT)
class Table:
    """A table whose first column names its rows. `caption`: what it shows and what is better."""

    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell | str, ...], ...]


@dataclass(frozen=True, config=_STRICT)
class Panel:
    """One picture (PNG or JPEG bytes) with its caption and a description for who cannot see it.

    `pixelated`: one pixel per patch, enlarged without smoothing. `marks`: (row, column) of pixels to frame.
    `wide`: on a narrow screen it has a row of its own; `double`: it is as wide as two.
    """

    caption: str
    picture: bytes = field(repr=False)
    alt: str
    pixelated: bool = False
    marks: tuple[tuple[int, int], ...] = ()
    wide: bool = False
    double: bool = False


@dataclass(frozen=True, config=_STRICT)
class ColourBar:
    """What the colours of `heat_png` mean: the values at its two ends, written out."""

    label: str
    low: str
    high: str


@dataclass(frozen=True, config=_STRICT)
class Swatch:
    """A colour (`#rrggbb`) and the class it stands for."""

    colour: Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$")]
    name: str


@dataclass(frozen=True, config=_STRICT)
class PictureGroup:
    """The panels of one image, beside each other."""

    title: str
    panels: tuple[Panel, ...]
    bar: ColourBar | None = None
    swatches: tuple[Swatch, ...] = ()


@dataclass(frozen=True, config=_STRICT)
class Section:
    """A part of the page: pictures and tables on one subject.

    `reading`: what each kind of picture shows and what is better, for who sees them for the first time.
    `inputs`: digest of what it was made from, by which it is told whether it must be made again.
    """

    title: str
    intro: str = ""
    reading: tuple[Fact, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[PictureGroup, ...] = ()
    inputs: str = ""


@plain_dataclass(frozen=True)
class Curve:
    """A term of the loss over steps: (step, value), of training batches and of held-out crops."""

    title: str
    meaning: str
    train: tuple[tuple[float, float], ...]
    validation: tuple[tuple[float, float], ...] = ()


@plain_dataclass(frozen=True)
class ReportPage:
    """The whole page of one registered student.

    `badge` is the gate's decision in two words, `good` whether it is a good one; `verdict` is a sentence,
    `reasons` are the gate's. `making` and `lineage` are definition lists, `config` the run's, as text.
    `inputs` is a digest of all of it. Empty parts are left out of the page.
    """

    title: str
    subtitle: str
    verdict: str
    badge: str = ""
    good: bool = False
    reasons: tuple[str, ...] = ()
    measures: Table | None = None
    sections: tuple[Section, ...] = field(default=(), repr=False)
    curves: tuple[Curve, ...] = field(default=(), repr=False)
    loading: str = ""
    making: tuple[Fact, ...] = ()
    lineage: tuple[Fact, ...] = ()
    config: str = field(default="", repr=False)
    inputs: str = ""
