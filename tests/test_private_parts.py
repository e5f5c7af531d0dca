"""ARCHITECTURE.md's table of private parts of others is what the code imports, no more and no less."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Modules whose names have no underscore, but which their authors document for nobody.
_UNDOCUMENTED = re.compile(
    r"ray\.(train\.torch\.config|dashboard\.modules)|prefect\.(server\.api|client\.base|utilities\.engine|flow_engine)"
)


def _table() -> dict[str, list[str]]:
    """Private parts, and the tests beside them."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    rows = re.findall(r"^\| (`(?:ray|prefect)[^|]*) \|[^|]*\|[^|]*\| ([^|]*) \|$", text, re.MULTILINE)
    tests = {
        part: re.findall(r"`(.+?)`", cell) for parts, cell in rows for part in re.findall(r"`(.+?)`", parts)
    }
    assert tests
    return tests


def _imported() -> Iterator[str]:
    for file in sorted(path for room in ("phreg", "flows") for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                yield from (f"{node.module}.{name.name}" for name in node.names)
            elif isinstance(node, ast.Import):
                yield from (name.name for name in node.names)
            elif isinstance(node, ast.Constant) and re.fullmatch(r"[\w.]+:\w+", str(node.value)):
                yield str(node.value).partition(":")[0]  # "module:name", as uvicorn is told


def _is_private(name: str) -> bool:
    ours = name.startswith(("phreg", "flows", "__future__"))
    return not ours and (bool(re.search(r"\._[a-z]", name)) or bool(_UNDOCUMENTED.match(name)))


def test_each_private_import_is_argued() -> None:
    table = _table()
    private = {name for name in _imported() if _is_private(name)}
    assert private
    assert {n for n in private if not any(n.startswith(f"{part}.") or n == part for part in table)} == set()
    assert {part for part in table if not any(n.startswith(part) for n in private)} == set()


def test_the_tests_it_names_are_there() -> None:
    absent = [test for tests in _table().values() for test in tests if not (ROOT / "tests" / test).is_file()]
    assert absent == []
