"""Tables as lines of text that fit a terminal: where a table is too wide, its rows become records.

No value is ever cut: one that is longer than a line is left to the terminal to break.
"""

import os
import sys
from collections.abc import Sequence
from typing import TextIO

from phreg.errors import hide_credentials

RULE, GAP = " │ ", "  "  # between columns; between name and value
Row = dict[str, str]


def table_lines(rows: Sequence[Row], width: int | None) -> list[str]:
    """Rows under their columns' names, or, where that is wider than `width`, each row as a block of lines.

    A cell that a row lacks is blank, and left out of a record. None: any width will do.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = _as_table(rows, columns)
    if width is None or max(map(_length, lines)) <= width:
        return lines
    return _as_records(rows, columns, width)


def terminal_width() -> int | None:
    """Columns of the terminal that is written to, or what COLUMNS says; None where there is neither."""
    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked):
        return int(asked)
    if not sys.stdout.isatty():
        return None
    return os.get_terminal_size(sys.stdout.fileno()).columns or None


def say(text: object = "", end: str = "\n", file: TextIO | None = None) -> None:
    """Print for a reader, at once and without credentials of URLs, as commands do with all but JSON."""
    print(hide_credentials(str(text)), end=end, file=file, flush=True)


def warn(text: object) -> None:
    """Say on stderr, beside the output."""
    say(text, file=sys.stderr)


def plain(text: str) -> str:
    """On one line, and without what a terminal would take for a command."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _as_table(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    """The first column to the left, the others to the right."""
    table = [list(columns), *([row.get(name, "") for name in columns] for row in rows)]
    widths = [max(map(_length, cells)) for cells in zip(*table, strict=True)]
    header, *lines = [RULE.join(_padded(line, widths)).rstrip() for line in table]
    return [header, RULE.join("─" * width for width in widths).replace(RULE, "─┼─"), *lines]


def _padded(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    room = [" " * (width - _length(cell)) for cell, width in zip(cells, widths, strict=True)]
    return [cells[0] + room[0], *(blank + cell for blank, cell in zip(room[1:], cells[1:], strict=True))]


def _as_records(rows: Sequence[Row], columns: Sequence[str], width: int) -> list[str]:
    """`NAME  VALUE` lines; a value that does not fit beside its name stands below it."""
    names = max(map(_length, columns))
    lines: list[str] = []
    for row in rows:
        lines += [""] if lines else []
        for name, value in ((name, row[name]) for name in columns if row.get(name)):
            beside = f"{name}{' ' * (names - _length(name))}{GAP}{value}"
            lines += [beside] if _length(beside) <= width else [name, f"{GAP}{value}"]
    return lines


def _length(text: str) -> int:
    """Columns that a terminal takes for it: letters of some languages take two."""
    from rich.cells import cell_len

    return cell_len(text)
