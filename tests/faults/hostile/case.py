"""What a case is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Make = Callable[[Path], object]


@dataclass(frozen=True)
class Case:
    """`make` writes the input into an empty folder and gives what the reader of its kind takes.

    `comes`: `used`, `quarantined`, `made again`, or the name of the error. `says`: a regular expression that
    the reason, or a few words on what was used, must match.
    """

    kind: str
    name: str
    make: Make
    comes: str
    says: str = ""

    @property
    def id(self) -> str:
        return f"{self.kind}: {self.name}"


def file_of(name: str, data: Callable[[], bytes]) -> Make:
    """Makes one file; gives its path."""

    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(data())
        return path

    return make
