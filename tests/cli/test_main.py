import os
from pathlib import Path

import pytest

import phreg
from phreg.cli import main, run, table
from phreg.cli.main import USAGE, build_parser
from phreg.cli.pack import config_lines
from phreg.config.run import load_config
from phreg.config.table import load_table
from phreg.distill.result import StudentReport
from phreg.generate import TargetsReport
from phreg.storage import Folder
from tests.helpers import jpeg_bytes, make_image
from tests.small_run import save_teacher, write_config

COMMANDS = [
    *("run", "targets", "distil", "evaluate", "submit", "plan", "table", "demo", "pack", "inspect", "export"),
    *("cache list", "cache quarantined", "cache verify", "cache rm", "cache gc"),
    *("registry list", "registry show", "registry promote", "doctor"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*command.split(), "--help"])
    assert caught.value.code == 0
    assert f"phreg {command} " in capsys.readouterr().out.partition("example:")[2]


@pytest.mark.parametrize("bad", ["-1", "nan", "x", "-0.5", "inf"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["cache", "gc", "a", "--grace-hours"],
        ["cache", "verify", "a", "--config", "c", "--samples"],
        ["inspect", "timm/vit", "a.jpg", "--image-size"],
        ["inspect", "timm/vit", "a.jpg", "--views"],
        ["pack", "a", "b", "--samples-per-shard"],
        *(["world", "a", option] for option in ("--train", "--per-shard", "--labelled", "--size")),
    ],
)
def test_numbers_out_of_range_are_bad_usage(
    arguments: list[str], bad: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        build_parser().parse_args([*arguments[:-1], f"{arguments[-1]}={bad}"])
    assert caught.value.code == USAGE
    assert arguments[-1] in capsys.readouterr().err


def test_a_scene_of_a_hundred_thousand_pixels_is_refused() -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(["world", "a", "--size", "100000"])


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["no-such"],
        ["cache"],
        ["run"],
        ["pack", "a", "b", "--samples-per-shard", "0"],
        ["inspect", "timm/vit", "a.jpg", "--figure", "x.foo"],
    ],
)
def test_bad_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == USAGE


def test_overrides_take_one_or_many() -> None:
    options = build_parser().parse_args(["run", "c.yaml", "--set", "a=1", "b=2", "--set", "c=3"])
    assert options.overrides == ["a=1", "b=2", "c=3"]


def test_bad_config_starts_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_config(tmp_path)
    assert main(["run", str(path), "--set", "students.0.registers=0", "colour=red"]) == USAGE
    errors = capsys.readouterr().err
    assert "students.0.registers" in errors
    assert "colour: unknown key" in errors
    assert not (tmp_path / "run").exists()


def test_a_stage_alone_is_its_flow_and_ends_with_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import flows.run

    monkeypatch.setattr("flows.server.begin_server", lambda: None)
    monkeypatch.setattr("flows.terminal.prepare_terminal", lambda: None)
    path = str(write_config(tmp_path))
    trained = StudentReport(
        "one", "d", True, 27, None, 1.0, {"total": 0.5}, {"total": 0.25}, "s3://me:pw@host/x"
    )
    for stage, made, shown in (
        ("targets", {"denoised": TargetsReport("e" * 64, (), (), 61.0)}, ["denoised", "e" * 12, "1:01"]),
        ("distil", [trained], ["one", "reused", "27", "0.5000", "0.2500", "s3://***@host/x"]),
    ):
        asked: list[dict] = []
        monkeypatch.setattr(
            flows.run, stage, lambda made=made, asked=asked, **given: asked.append(given) or made
        )
        assert main([stage, path, "--set", "seed=3"]) == 0
        assert asked == [{"config": path, "overrides": ["seed=3"]}]
        printed = capsys.readouterr().out
        assert all(word in printed for word in shown), printed


def test_plan_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(write_config(tmp_path))]) == 0
    shown = capsys.readouterr().out
    assert "denoised" in shown
    assert "0 of 3" in shown
    assert not (tmp_path / "run").exists()


def test_plan_names_labelled_sets_that_are_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mistyped = {"name": "scenes", "kind": "folder", "root": str(tmp_path / "labeld")}
    assert main(["plan", str(write_config(tmp_path, labels={"sets": [mistyped]}))]) == 0
    assert f"left out: scenes ({tmp_path / 'labeld'})" in capsys.readouterr().out


def test_the_configs_of_the_help_are_configs(tmp_path: Path) -> None:
    for name, text in (("photos", run.EXAMPLE_CONFIG), ("table", table.EXAMPLE_CONFIG)):
        lines = text.partition(":\n")[2]
        (tmp_path / f"{name}.yaml").write_text(lines)
    found = load_table(tmp_path / "table.yaml")
    titles = [row.denoiser.title for row in found.teacher_rows]
    assert titles == ["1 view", "10 views", "test-time registers"]
    assert found.run == load_config(tmp_path / "photos.yaml")


def test_pack_says_what_to_write_into_a_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, out = tmp_path / "images", tmp_path / "photos"
    images.mkdir()
    for index in range(5):
        make_image(index).save(images / f"{index}.jpg")
    arguments = ["pack", str(images), str(out)]
    assert main([*arguments, "--samples-per-shard", "2"]) == 0
    shown = capsys.readouterr().out
    assert f"images: {out}/photos-{{000000..000001}}.tar\n  validation: {out}/photos-000002.tar" in shown
    assert "stay as they are" not in shown
    for other in ("1", "3"):
        assert main([*arguments, "--samples-per-shard", other]) == 0
        assert "stay as they are, with up to 2 images each" in capsys.readouterr().out
    assert main(["pack", str(images), str(tmp_path / "one")]) == 0
    assert "--samples-per-shard N" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("numbers", "images"),
    [
        ([0, 1, 3, 4], '["o/a-b-{000000..000001}.tar", "o/a-b-000003.tar"]'),
        ([7, 8], "o/a-b-000007.tar"),
    ],
)
def test_ranges_leave_out_what_is_not_there(numbers: list[int], images: str) -> None:
    lines = config_lines("o/", [f"/x/o/a-b-{number:06d}.tar" for number in numbers])
    assert f"images: {images}\n" in lines
    assert lines.endswith(f"validation: o/a-b-{numbers[-1]:06d}.tar")


def test_pack_lists_the_unreadable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for index in range(3):
        make_image(index).save(images / f"{index}.jpg")
    (images / "broken.jpg").write_bytes(b"<html>")
    arguments = ["pack", str(images), str(tmp_path / "out"), "--samples-per-shard", "2"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "3 images in 2 shards" in shown
    assert "broken.jpg" in shown
    assert main(arguments) == 0
    assert "0 written, 2 there before" in capsys.readouterr().out


def test_inspect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_image(0).save(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(b"no image")
    figure = tmp_path / "figure.png"
    arguments = [
        "inspect",
        save_teacher(tmp_path / "teacher"),
        str(tmp_path / "a.jpg"),
        str(tmp_path / "b.jpg"),
    ]
    assert main([*arguments, "--figure", str(figure), "--views", "3"]) == 1
    shown = capsys.readouterr().out
    assert "shift_cosine_mean" in shown
    assert "b.jpg" in shown
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_inspect_takes_globs_and_names_of_any_bytes(
    tmp_path: Path, s3_folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = [
        os.fsdecode(os.fsencode(tmp_path) + name) for name in (b"/caf\xe9.jpg", b"/$x_\x1b[2J.jpg", b"/b\xff")
    ]
    for path in odd:
        Path(path).write_bytes(jpeg_bytes(make_image(1)) if path.endswith(".jpg") else b"no image")
    s3_folder.write("a.jpg", jpeg_bytes(make_image(2)))
    arguments = [
        "inspect",
        save_teacher(tmp_path / "teacher"),
        *odd,
        s3_folder.url_of("*.jpg"),
        "--views",
        "3",
    ]
    assert main([*arguments, "--figure", str(tmp_path / "figure.png")]) == 1
    printed = capsys.readouterr().out
    assert r"caf\udce9.jpg" in printed
    assert r"x_\x1b[2J.jpg" in printed
    assert rf"skipped {tmp_path}/b\udcff: " in printed
    assert s3_folder.url_of("a.jpg") in printed


@pytest.mark.parametrize("place", ["none", "mistyped"])
@pytest.mark.parametrize("action", ["list", "quarantined", "verify", "gc"])
def test_a_cache_that_is_not_there_is_no_empty_one(
    tmp_path: Path, place: str, action: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mistyped" / "cache").mkdir(parents=True)
    assert main(["cache", action, str(tmp_path / place)]) == USAGE
    shown = capsys.readouterr()
    assert f"There is no target cache at {tmp_path / place}\n" in shown.err
    assert shown.out == ""


@pytest.mark.parametrize(
    ("action", "more"),
    [
        ("list", []),
        ("verify", []),
        ("show", ["demo", "champion"]),
        ("report", ["demo", "champion"]),
        ("promote", ["demo", "1", "--reason", "why not"]),
    ],
)
def test_a_registry_that_is_not_there_is_no_empty_one(
    tmp_path: Path, action: str, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["registry", action, str(tmp_path / "none"), *more]) == USAGE
    shown = capsys.readouterr()
    assert f"There is no registry at {tmp_path / 'none'}\n" in shown.err
    assert shown.out == ""


def test_empty_places_are_said_to_be_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model" / "1").mkdir(parents=True)
    assert main(["registry", "list", str(tmp_path)]) == 0
    assert "nothing is registered" in capsys.readouterr().out


def test_registry_show_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "another" / "1").mkdir(parents=True)
    assert main(["registry", "show", str(tmp_path), "photos", "champion"]) == USAGE
    assert "champion" in capsys.readouterr().err


def test_public_names() -> None:
    assert set(phreg.__all__) == {
        "Backbone", "DistillationLoss", "PhregError", "Student", "Views", "add_registers", "calibrate",
        "denoise", "distillation_loss", "load_backbone", "load_student", "open_cache", "sample_views",
    }  # fmt: skip
    assert all(hasattr(phreg, name) for name in phreg.__all__)
