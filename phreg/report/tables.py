"""Tables and definition lists."""

import re
from collections.abc import Sequence
from xml.etree.ElementTree import Element

from phreg.report.content import Cell, Fact, Table
from phreg.report.markup import element

_NUMBER = re.compile(r"[-+]?[\d.,]+(e[-+]?\d+)?\s*(%|±.*|\w{1,3})?|-?")


def table(content: Table) -> Element:
    """A table in a box of its own that scrolls sideways where the screen is too narrow for it."""
    numeric = [_is_numeric(content, column) for column in range(len(content.columns))]
    head = element("tr", *(_head(name, n) for name, n in zip(content.columns, numeric, strict=True)))
    rows = [element("tr", *(_cell(i, c, numeric[i]) for i, c in enumerate(row))) for row in content.rows]
    caption = element("caption", element("strong", content.title), f" {content.caption}".rstrip())
    whole = element("table", caption, element("thead", head), element("tbody", *rows))
    return element("div", whole, class_="scroll", tabindex="0", role="region", aria_label=content.title)


def facts(items: Sequence[Fact], class_: str = "facts") -> Element:
    """A definition list."""
    pairs = (element("div", element("dt", term), element("dd", description)) for term, description in items)
    return element("dl", *pairs, class_=class_)


def _head(name: str, numeric: bool) -> Element:
    return element("th", name, scope="col", class_="number" if numeric else None)


def _cell(column: int, cell: Cell | str, numeric: bool) -> Element:
    content = Cell(cell) if isinstance(cell, str) else cell
    text: Element | str = element("strong", content.text) if content.best else content.text
    note = element("small", content.note) if content.note else None
    if column == 0:
        return element("th", text, note, scope="row")
    return element("td", text, note, class_="number" if numeric else None)


def _is_numeric(content: Table, column: int) -> bool:
    cells = [row[column] for row in content.rows]
    texts = [cell if isinstance(cell, str) else cell.text for cell in cells]
    return column > 0 and all(_NUMBER.fullmatch(text.strip()) for text in texts)
