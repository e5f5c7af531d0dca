"""What stands in fences of the documentation's pages and of the README."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "pages").glob("*.md"))
_FENCE = re.compile(r"^```(?P<kind>\w+)(?P<more>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    page: str
    kind: str
    more: str
    text: str

    @property
    def title(self) -> str:
        """The file that the reader is told to write, if it is one."""
        found = re.search(r'title="(.+?)"', self.more)
        return found[1] if found else ""


def blocks(page: Path) -> Iterator[Block]:
    for found in _FENCE.finditer(page.read_text()):
        yield Block(page.name, found["kind"], found["more"], found["text"])


def fenced(kind: str) -> list[Block]:
    return [block for page in (*PAGES, ROOT / "README.md") for block in blocks(page) if block.kind == kind]


def indented(page: Path) -> str:
    """Blocks of four spaces, as the README writes its commands."""
    return "".join(re.findall(r"^    (.*\n)", page.read_text(), re.MULTILINE))


def commands(text: str) -> list[list[str]]:
    """Lines that call phreg, as a shell would split them."""
    lines = [shlex.split(line, comments=True) for line in text.splitlines() if line.startswith("phreg ")]
    return [line[1:] for line in lines]
