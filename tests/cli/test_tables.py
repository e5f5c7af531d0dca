"""Tables fit the terminal, and no value of them is ever cut."""

import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from phreg.cli import main
from phreg.cli.options import print_table
from phreg.cli.tables import say, table_lines, warn
from phreg.registry import Registry
from phreg.storage import Folder
from phreg.types import HIGHER_IS_BETTER
from tests.registry.examples import register

ROW = {"model": "a-name-of-thirty-letters-or-so", "version": "12", "aliases": "champion, of-the-week"}
ROW |= {f"measure_{i}": f"0.{i}234" for i in range(6)} | {"created": "2026-01-02T03:04:05+00:00"}


@pytest.mark.parametrize("width", [40, 80, 120, 500, None])
def test_a_table_fits_and_shows_every_value_whole(width: int | None) -> None:
    lines = table_lines([ROW, ROW | {"version": "13", "aliases": ""}], width)
    assert width is None or max(map(len, lines)) <= width
    for value in (*ROW, *ROW.values(), "13"):
        assert any(value in line for line in lines)
    wide = width is None or width > 200
    assert ("" in lines) != wide  # an empty line stands between two records


@given(
    st.lists(st.dictionaries(st.sampled_from("abc"), st.text("xyz漢", max_size=30), min_size=1), min_size=1),
    st.integers(1, 120),
)
def test_no_value_is_cut_at_any_width(rows: list[dict[str, str]], width: int) -> None:
    text = "\n".join(table_lines(rows, width))
    assert all(value in text for row in rows for value in row.values())
    short = all(cell_len(value) + 2 <= width for row in rows for value in row.values())
    assert not short or max(map(cell_len, text.splitlines())) <= max(width, 1)


def test_a_value_longer_than_a_line_stands_below_its_name() -> None:
    lines = table_lines([{"model": "m", "url": "s3://" + "x" * 60}], 40)
    assert lines == ["model  m", "url", "  s3://" + "x" * 60]


def test_columns_line_up_where_letters_are_wide() -> None:
    header, _, one, two = table_lines([{"name": "漢字", "n": "1"}, {"name": "a", "n": "22"}], 80)
    assert (cell_len(header), cell_len(one), cell_len(two)) == (9, 9, 9)


def test_a_stream_that_knows_no_lines_gets_a_table_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    print_table([{"model": "m", "cosine ↑": "0.5"}], "none")
    sys.stdout.flush()
    assert sys.stdout.buffer.getvalue().splitlines()[2] == b"m     ?      0.5"


def test_a_pipe_gets_the_whole_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    print_table([{"name": "x" * 300, "other": "y" * 300}], "none")
    assert "x" * 300 + " │ " + "y" * 300 in capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "80")
    print_table([{"name": "x" * 70, "other": "y" * 70}], "none")
    assert capsys.readouterr().out.splitlines() == [f"name   {'x' * 70}", f"other  {'y' * 70}"]


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_registry_list_names_model_version_and_alias_in_any_terminal(
    columns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, model = Registry(Folder(str(tmp_path))), "a-name-of-thirty-letters-or-so"
    register(registry, model, metrics=dict.fromkeys(HIGHER_IS_BETTER, 0.25))
    registry.promote(model, 1, "champion-of-all", "by hand")
    with terminal(columns, monkeypatch) as shown:
        assert main(["registry", "list", str(tmp_path)]) == 0
    assert max(map(len, shown)) <= columns
    text = "\n".join(shown)
    for value in (model, "version", "champion-of-all", "reg16", *HIGHER_IS_BETTER, "0.2500"):
        assert value in text


@contextmanager
def terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Standard output is a terminal of so many columns; the lines are there once the block is left."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    lines: list[str] = []
    monkeypatch.delenv("COLUMNS", raising=False)
    with os.fdopen(theirs, "w") as stdout, monkeypatch.context() as patch:
        patch.setattr("sys.stdout", stdout)
        yield lines
        stdout.flush()
        os.set_blocking(ours, False)
        with suppress(BlockingIOError):
            shown = b""
            while True:
                shown += os.read(ours, 65536)
    os.close(ours)
    lines += shown.decode().splitlines()


def test_what_is_said_has_no_credentials(capsys: pytest.CaptureFixture[str]) -> None:
    for tell in (say, warn):
        tell("at s3://me:secret@host/a and\n\thttps://host/b.tar?sig=secret: 3 files")
    said = "at s3://***@host/a and\n\thttps://host/b.tar?*** 3 files\n"
    assert capsys.readouterr() == (said, said)


def test_commands_say_all_but_json_and_the_log_of_a_job() -> None:
    """Whoever prints past `say` may show a URL's credentials."""
    printing = {
        f"{file.stem}: {line.strip()}"
        for file in Path(main.__code__.co_filename).parent.glob("*.py")
        for line in file.read_text().splitlines()
        if re.search(r"(?<![\w.])print\(", line) and "json.dumps" not in line
    }
    assert {line.partition(":")[0] for line in printing} == {"submit", "tables"}, printing
    assert len(printing) == 2
