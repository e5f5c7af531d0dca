"""The parameters of a deployment, as Prefect's server checks them before it makes a run."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.utilities.schema_tools import validation

from flows.run import distil, evaluate, run, targets
from phreg.config.run import load_config, read_run
from phreg.errors import ConfigError
from tests.small_run import make_config

INFRA = Path(__file__).resolve().parents[2] / "infra"
STUDENT = {"name": "a", "targets": "denoised"}


def accepted(**parameters: Any) -> None:
    """As the server does it. Raises what it answers."""
    validation.validate(parameters, run.parameters.model_dump(), raise_on_error=True)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"images": ["a.tar", "b-{0..3}.tar"]},
        {"students": [STUDENT | {"registers": "none", "unlock": ["lora:4"]}]},
        {"students": [{"grid": {"registers": [1, 4], "targets": ["denoised"]}}]},
        {"targets": {"denoised": {"method": "test_time_registers", "then": {"method": "refined_views"}}}},
        {"targets": {"denoised": {"method": "position_subspace", "images": 8, "then": "views"}}},
    ],
)
def test_what_a_config_may_say_a_form_may(changes: dict[str, Any], tmp_path: Path) -> None:
    settings = make_config(tmp_path, **changes)
    accepted(settings=settings)
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(settings))
    assert read_run("", ["seed=3"], settings) == load_config(path, ["seed=3"])
    assert "seed" not in settings


@pytest.mark.parametrize("file", sorted(INFRA.glob("*s.yaml")) + sorted(INFRA.glob("clip.yaml")))
def test_the_examples_are_forms(file: Path) -> None:
    accepted(settings=yaml.safe_load(file.read_text()))
    accepted(config=str(file), overrides=["seed=3"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"max_quarantined": 3}, "settings.max_quarantined"),
        ({"devise": "cpu"}, "'devise' was unexpected"),
        ({"device": "gpu"}, "settings.device"),
        ({"targets": {"denoised": {"view": 3}}}, "'view' was unexpected"),
        ({"targets": {"denoised": {"views": "many"}}}, "settings.targets.denoised.views"),
        ({"students": [STUDENT | {"batch_size": 0}]}, r"settings.students\[0\].batch_size"),
        ({"output": "s3://me:secret@host/x"}, "settings.output"),
    ],
)
def test_a_wrong_value_is_named_before_there_is_a_run(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(validation.ValidationError, match=said):
        accepted(settings=make_config(tmp_path, **changes))


def test_what_the_schema_cannot_tell_is_a_short_error(tmp_path: Path) -> None:
    unknown = make_config(tmp_path, students=[STUDENT | {"targets": "other"}])
    with pytest.raises(ConfigError, match="names targets 'other'"):
        read_run("", [], unknown)
    with pytest.raises(ConfigError, match="carries credentials"):
        read_run("", [], make_config(tmp_path, images="s3://me:secret@host/x.tar"))
    with pytest.raises(ConfigError, match="No config is given"):
        read_run("")


def test_every_field_of_the_form_is_described() -> None:
    for flow in (run, targets, distil, evaluate):
        schema = flow.parameters.model_dump()
        for name, section in schema["definitions"].items():
            for field, details in section["properties"].items():
                assert details.get("description"), f"{name}.{field}"
