"""Every command, config and example of the documentation does what its page says."""

import os
from pathlib import Path
from typing import Any

import pytest
import timm
import yaml
from mkdocs.commands.build import build
from mkdocs.config import load_config

import phreg
from phreg.cli.main import build_parser
from phreg.config.run import parse_config
from phreg.config.table import TableConfig
from tests.docs.pages import PAGES, ROOT, Block, blocks, commands, fenced, indented
from tests.processes import starter

_TITLED = {block.title: block.text for page in PAGES for block in blocks(page) if block.title}
_LINES = [line for block in fenced("sh") for line in commands(block.text)]
_LINES += commands(indented(ROOT / "README.md"))
_PYTHON = [block for block in fenced("python") if "notest" not in block.more and block.page != "README.md"]


@pytest.mark.parametrize("line", _LINES, ids=" ".join)
def test_a_command_is_one_that_phreg_knows(line: list[str]) -> None:
    assert callable(build_parser().parse_args(line).command)


def test_commands_are_found() -> None:
    assert len(_LINES) > 30
    assert ["plan", "run.yaml"] in _LINES


@pytest.mark.parametrize("block", fenced("yaml"), ids=lambda block: f"{block.page}-{block.text[:20]!r}")
def test_a_config_is_accepted(block: Block) -> None:
    """Whole, or a part of the quick start's."""
    given = yaml.safe_load(block.text)
    base = yaml.safe_load(_TITLED["run.yaml"])
    if "run" in given:
        TableConfig.model_validate(given | {"run": base})
        return
    config: dict[str, Any] = base | given
    if "targets" in given and "students" not in given:
        config["students"] = [base["students"][0] | {"targets": next(iter(given["targets"]))}]
    parse_config(config)


def test_what_is_unlocked_is_there() -> None:
    """In a thin CLIP of twelve blocks."""
    names = {
        name
        for block in fenced("yaml")
        for student in yaml.safe_load(block.text).get("students", ())
        for name in student.get("unlock", ())
    }
    assert {"*", "lora:8"} <= names
    thin = {"embed_dim": 32, "num_heads": 2, "num_classes": 16}
    teacher = phreg.load_backbone(timm.create_model("vit_base_patch16_clip_quickgelu_224", **thin))
    for name in names:
        assert any(p.requires_grad for p in phreg.add_registers(teacher, 1).unlock([name]).parameters())


@pytest.mark.parametrize("block", _PYTHON, ids=lambda block: f"{block.page}-{block.text[:40]!r}")
def test_an_example_in_python_runs(block: Block) -> None:
    exec(compile(block.text, block.page, "exec"), {"__name__": "example"})


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    before = os.environ.get("COLUMNS")
    build(load_config(str(ROOT / "docs" / "mkdocs.yml"), strict=True, site_dir=str(tmp_path)))
    assert os.environ.get("COLUMNS") == before
    for page, words in {
        "config": "crops cached per image",
        "cli": "phreg cache gc",
        "python": "denoise",
    }.items():
        assert words in (tmp_path / "reference" / page / "index.html").read_text()
    for file in tmp_path.rglob("*.html"):
        assert 'src="http' not in file.read_text(), f"{file} loads something from elsewhere"


@pytest.mark.slow
def test_the_quick_start_runs_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(_TITLED["run.yaml"])
    lines = [line for block in blocks(PAGES[0].with_name("index.md")) for line in commands(block.text)]
    assert ["run", "run.yaml"] in lines
    with starter(tmp_path) as shell:
        for line in lines:
            started = shell.phreg(*line)
            assert started.ends(600) == 0, started.tail
    assert (tmp_path / "runs/scenes/registry").is_dir()
