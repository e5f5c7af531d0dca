"""The page as one HTML file that needs nothing else: no script, no network, pictures and style inside."""

import base64
import hashlib
import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from phreg.report import chart, panels, tables
from phreg.report.content import Fact, ReportPage, Section
from phreg.report.markup import element, to_html
from phreg.report.style import CSS

INPUTS = "phreg-inputs"
"""Name of the `<meta>` that holds the digest of what a page was made from."""
_INPUTS = re.compile(rf'<meta name="{INPUTS}" content="([^"]*)">')

Part = tuple[str, str, list[Element | None]]
"""Anchor, title and content of a part of the page."""


def render(page: ReportPage) -> str:
    """The page as HTML text; equal pages give equal text. Raises `DataError` for a picture that is none."""
    parts = list(_parts(page))
    links = [element("a", title, href=f"#{name}") for name, title, _ in parts]
    body = element(
        "body",
        _header(page),
        element("nav", *links, aria_label="Parts"),
        element("main", *(_part(*part) for part in parts)),
        element("footer", "Made by phreg. This file is whole: it needs no network and runs no script."),
    )
    return "<!doctype html>\n" + to_html(element("html", _head(page), body, lang="en")) + "\n"


def inputs_of(html: str) -> str | None:
    """The digest of what a rendered page was made from; None if it names none."""
    match = _INPUTS.search(html[:20_000])
    return match[1] if match else None


def _head(page: ReportPage) -> Element:
    style_digest = base64.b64encode(hashlib.sha256(CSS.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{style_digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("meta", name=INPUTS, content=page.inputs),
        element("link", rel="icon", href="data:,"),
        element("title", page.title),
        element("style", CSS),
    )


def _header(page: ReportPage) -> Element:
    badge = element("span", page.badge, class_="badge good" if page.good else "badge") if page.badge else None
    reasons = [element("li", reason) for reason in page.reasons]
    return element(
        "header",
        element("p", page.subtitle, class_="kicker"),
        element("h1", page.title),
        element("p", badge, page.verdict, class_="verdict"),
        element("ul", *reasons, class_="reasons") if reasons else None,
    )


def _parts(page: ReportPage) -> Iterator[Part]:
    """The parts that have content, in the order of the page."""
    if page.measures is not None:
        yield "measures", "Measures", [tables.table(page.measures)]
    for number, section in enumerate(page.sections, start=1):
        yield f"section-{number}", section.title, list(_section(section))
    if page.curves:
        yield "training", "Training", _training(page)
    if page.loading:
        intro = "Stock timm is all it needs. Run this in the folder that the page lies in:"
        yield "load", "Load it", [element("p", intro), element("pre", element("code", page.loading))]
    if page.making:
        yield "making", "How it was made", [tables.facts(page.making)]
    if page.lineage or page.config:
        yield "lineage", "Lineage", _lineage(page.lineage, page.config)


def _part(name: str, title: str, content: list[Element | None]) -> Element:
    heading = element("h2", title, id=f"{name}-title")
    return element("section", heading, *content, id=name, class_="part", aria_labelledby=f"{name}-title")


def _section(section: Section) -> Iterator[Element]:
    if section.intro:
        yield element("p", section.intro)
    if section.reading:
        yield tables.facts(section.reading, class_="reading")
    yield from (tables.table(content) for content in section.tables)
    yield from (panels.group(content) for content in section.pictures)


def _training(page: ReportPage) -> list[Element | None]:
    keys = element(
        "p",
        "The loss and its two terms; lower is better. ",
        element("span", class_="key train"),
        "training batches, ",
        element("span", class_="key held-out"),
        "held-out images, which it does not learn from: while both fall, it learns what holds for new ones.",
    )
    return [keys, element("div", *(chart.figure(curve) for curve in page.curves), class_="charts")]


def _lineage(lineage: tuple[Fact, ...], config: str) -> list[Element | None]:
    intro = element("p", "What this student was made from and with, so that it can be made again.")
    details = None
    if config:
        details = element("details", element("summary", "The run's config"), element("pre", config))
    return [intro, tables.facts(lineage), details]
