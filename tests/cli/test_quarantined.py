"""`phreg cache quarantined`: what was left out, one line a sample."""

from pathlib import Path

import pytest

from phreg.cli import main
from phreg.cli.options import print_table
from tests.generate.worlds import make_world
from tests.helpers import jpeg_bytes, make_image, write_tar


def test_samples_left_out_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = make_world(tmp_path)
    members = [(f"k{i}.jpg", jpeg_bytes(make_image(i))) for i in range(2)]
    bad = [("page.jpg", b"<html>"), ("[/red].jpg", b""), ("x.txt", b"a")]
    url = str(write_tar(tmp_path / "a-0.tar", members + bad))
    world.generator().generate(url)
    cache, spec = world.cache.url, world.spec.digest[:12]
    assert main(["cache", "quarantined", cache]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert {(line[0], line[1], line[2]) for line in lines} == {
        (spec, "a-0", key) for key in ("page", "[/red]", "x")
    }
    assert {line[2]: line[3] for line in lines}["[/red]"] == "no bytes"
    assert main(["cache", "quarantined", cache, "--spec", spec[:4]]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert main(["cache", "quarantined", cache, "--spec", "0" * 64]) == 2
    assert "no targets with spec" in capsys.readouterr().err


def test_what_is_damaged_hides_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = make_world(tmp_path)
    for name in ("a-0", "a-1"):
        members = [("k.jpg", jpeg_bytes(make_image(0))), ("page.jpg", name.encode())]
        world.generator().generate(str(write_tar(tmp_path / f"{name}.tar", members)))
    cache = Path(world.cache.url)
    (cache / world.spec.digest / "shards" / "a-0.json").write_bytes(b"{")
    (cache / ("0" * 64)).mkdir()
    (cache / ("0" * 64) / "spec.json").write_bytes(b"{")
    assert main(["cache", "quarantined", world.cache.url]) == 1
    shown = capsys.readouterr()
    assert [line.split("\t")[1:3] for line in shown.out.splitlines()] == [["a-1", "page"]]
    assert "a-0.json" in shown.err
    assert "0" * 12 in shown.err


def test_nothing_left_out_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = make_world(tmp_path)
    assert main(["cache", "quarantined", world.cache.url]) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", f"no samples are quarantined in {world.cache.url}\n")


def test_tables_show_hostile_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"name": "[/red]\x1b[2J\x9b", "[b]": ":smile:"}], "none")
    shown = capsys.readouterr().out
    assert "[/red]\\x1b[2J\\x9b" in shown
    assert ":smile:" in shown


def test_cells_of_tables_stand_under_their_heading(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"name": "a", "first": "1"}, {"name": "b", "second": "2"}], "none")
    header, _, one, two = capsys.readouterr().out.splitlines()
    assert header.index("first") < one.index("1") < header.index("second") < two.index("2")
