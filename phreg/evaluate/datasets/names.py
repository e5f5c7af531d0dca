"""Class names of the official sets: package data in `names/`, one class a line, in index order."""

from importlib import resources
from pathlib import Path

from phreg.errors import DataError
from phreg.evaluate.datasets.paired import ClassNames
from phreg.evaluate.scores import IGNORE


def official_names(name: str) -> ClassNames:
    """The names of each class of one of the files in `names/`; the first is the set's own."""
    file = resources.files("phreg.evaluate.datasets") / "names" / f"{name}.txt"
    return parse_names(file.read_text(encoding="utf-8"), f"names/{name}.txt")


def read_names(path: Path) -> ClassNames:
    """The class names of a user's `classes.txt`. Raises `DataError` that names the file and line."""
    try:
        return parse_names(path.read_text(encoding="utf-8-sig"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read {path}", expected="UTF-8 text", found=type(error).__name__) from None


def parse_names(text: str, source: str) -> ClassNames:
    """One class a line, several names separated by commas. A blank line would shift indices: an error."""
    classes: list[tuple[str, ...]] = []
    for number, line in enumerate(text.rstrip().splitlines(), start=1):
        names = tuple(name.strip() for name in line.split(",") if name.strip())
        if not names:
            raise DataError(f"{source}, line {number}: no class name", expected="one class a line")
        if names[0] in {other[0] for other in classes}:
            raise DataError(f"{source}, line {number}: {names[0]!r} is the name of an earlier class too")
        classes.append(names)
    if not 1 <= len(classes) <= IGNORE:
        raise DataError(f"{source} has {len(classes)} classes", expected=f"1 to {IGNORE}, one a line")
    return tuple(classes)
