"""What several commands share: an example below the help, `--set`, and tables."""

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from phreg.cli.tables import plain, say, table_lines, terminal_width


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], summary: str, example: str
) -> argparse.ArgumentParser:
    """A sub-command whose `--help` ends with an example."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example:\n{_indent(example)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=run)
    return parser


def add_config(parser: argparse.ArgumentParser, of: str = "run") -> None:
    parser.add_argument("config", metavar="CONFIG", help=f"YAML file of the {of}")
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="a.b=c",
        action="extend",
        nargs="+",
        default=[],
        help="override values of the config; list items by index, values are YAML",
    )


def add_device(parser: argparse.ArgumentParser, default: str | None = "auto") -> None:
    parser.add_argument(
        "--device",
        type=_device,
        default=default,
        help=f"auto (a GPU if there is one), cpu or cuda ({default or 'as the config says'})",
    )


def _device(text: str) -> str:
    from phreg.config.model import known_device

    try:
        return str(known_device(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def positive(text: str) -> int:
    """An argument that is a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def pixels(text: str) -> int | tuple[int, int]:
    """An argument that is the size of an image: one side, or HEIGHTxWIDTH."""
    height, by, width = text.partition("x")
    return (positive(height), positive(width)) if by else positive(height)


def non_negative(text: str) -> int:
    """An argument that is a whole number of at least 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def duration(text: str) -> float:
    """An argument that is a length of time: a finite number of at least 0."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number of at least 0")
    return value


def print_table(rows: Sequence[dict[str, str]], empty: str) -> None:
    """Rows as a table that fits the terminal, no value cut; or a sentence if there are none."""
    if not rows:
        say(empty)
        return
    shown = [{plain(name): plain(str(value)) for name, value in row.items()} for row in rows]
    text, encoding = "\n".join(table_lines(shown, terminal_width())), sys.stdout.encoding or "utf-8"
    say(text.encode(encoding, "replace").decode(encoding))  # not all terminals know lines and arrows


def human_bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")


def human_count(count: float) -> str:
    for unit in ("", "k", "M", "G", "T", "P"):
        if count < 1000 or unit == "P":
            return f"{count:.0f}" if unit == "" else f"{count:.2f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in _lines(text))


def _lines(text: str) -> Iterable[str]:
    return text.strip().splitlines()
