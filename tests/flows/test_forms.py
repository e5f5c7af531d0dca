"""The parameters of a deployment, as Prefect's server checks them before it makes a run."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools import validation

from flows.run import distil, evaluate, run, targets
from flows.table import table
from phreg.config.run import load_config, read_run
from phreg.errors import ConfigError
from tests.small_run import make_config

INFRA = Path(__file__).resolve().parents[2] / "infra"
STUDENT = {"name": "a", "targets": "denoised"}
SECRET = "s3://me:secret@host/x"
THEN = {"method": "test_time_registers", "then": {"method": "refined_views"}}


def accepted(flow: Any = run, **parameters: Any) -> None:
    """As the server does it, by the schema that `prefect deploy` sends. Raises what it answers."""
    validation.validate(parameters, parameter_schema(flow).model_dump(), raise_on_error=True)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"images": ["a.tar", "b-{0..3}.tar"]},
        {"students": [STUDENT | {"registers": "none", "unlock": ["lora:4"]}]},
        {"students": [{"grid": {"registers": [1, 4], "targets": ["denoised"]}}]},
        {"targets": {"denoised": {"method": "test_time_registers", "then": {"method": "refined_views"}}}},
        {"targets": {"denoised": {"method": "position_subspace", "images": 8, "then": "views"}}},
        {"targets": {"denoised": {"method": "position_subspace", "then": THEN}}},
    ],
)
def test_what_a_config_may_say_a_form_may(changes: dict[str, Any], tmp_path: Path) -> None:
    settings = make_config(tmp_path, **changes)
    accepted(settings=settings)
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(settings))
    assert read_run("", ["seed=3"], settings) == load_config(path, ["seed=3"])
    assert "seed" not in settings


@pytest.mark.parametrize("name", ["photos.yaml", "clip.yaml"])
def test_the_examples_are_forms(name: str) -> None:
    file = INFRA / name
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
        ({"output": SECRET}, "settings.output"),
        ({"output": "s3://host/x?X-AMZ-Signature=y"}, "settings.output"),
        ({"students": [STUDENT | {"model": SECRET}]}, r"settings.students\[0\].model"),
        ({"students": [{"grid": {"registrs": [1]}}]}, "'registrs' was unexpected"),
        ({"students": [{"grid": {"checkpoint": [SECRET]}}]}, r"grid.checkpoint\[0\]"),
        ({"students": [{"grid": {"seed": [1]}, "model": SECRET}]}, r"settings.students\[0\]"),
        ({"students": [{"grid": {"seed": [1]}, SECRET: 1}]}, r"settings.students\[0\]"),
        ({"targets": {SECRET: {}}}, "settings.targets"),
        ({"targets": {"denoised": {"method": "position_subspace", "then": THEN | {"keep": SECRET}}}}, "then"),
        ({"targets": {"denoised": {"method": "position_subspace", "then": THEN | {"then": THEN}}}}, "then"),
    ],
)
def test_a_wrong_value_is_named_before_there_is_a_run(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(validation.ValidationError, match=said):
        accepted(settings=make_config(tmp_path, **changes))


@pytest.mark.parametrize("flow", [run, targets, distil, evaluate, table])
def test_no_parameter_carries_credentials(flow: Any) -> None:
    accepted(flow, config="s3://bucket/a.yaml?versionId=1", overrides=["output=s3://me@bucket/x"])
    for parameters in ({"config": f"{SECRET}.yaml"}, {"config": "a.yaml", "overrides": [f"output={SECRET}"]}):
        with pytest.raises(validation.ValidationError, match=r"config|overrides"):
            accepted(flow, **parameters)


def test_the_form_has_no_place_that_takes_anything() -> None:
    """Every schema says what it takes, texts refuse credentials, and objects refuse other keys."""
    schema = parameter_schema(run).model_dump()
    open_places: list[str] = []

    def look(place: str, part: dict[str, Any]) -> None:
        kind = part.get("type")
        inner = [(f"{place}.{name}", each) for name, each in part.get("properties", {}).items()]
        inner += [(f"{place}|", each) for each in part.get("anyOf", [])]
        inner += [(f"{place}[]", part[key]) for key in ("items", "additionalProperties") if part.get(key)]
        inner += [(f"{place}[]", each) for each in part.get("prefixItems", [])]
        beside = part.get("dependentSchemas", {}).get("grid", {}).get("properties", {})
        inner += [(f"{place}.{name}", each) for name, each in beside.items() if name != "grid"]
        if kind == "string" and "enum" not in part and "const" not in part and "not" not in part:
            open_places.append(place)
        if kind == "object" and "additionalProperties" not in part and "dependentSchemas" not in part:
            open_places.append(place)
        if not kind and not inner and not part.keys() & {"$ref", "enum", "const"}:
            open_places.append(place)
        for where, each in inner:
            look(where, each)

    for name, part in (schema["properties"] | schema["definitions"]).items():
        look(name, part)
    assert not open_places


def test_settings_may_be_a_config_too(tmp_path: Path) -> None:
    config = read_run("", [], make_config(tmp_path))
    assert read_run("", ["seed=3", "teacher.block=-2"], config) == read_run(
        "", ["seed=3", "teacher.block=-2"], make_config(tmp_path)
    )


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
        schema = parameter_schema(flow).model_dump()
        for name, section in schema["definitions"].items():
            for field, details in section["properties"].items():
                assert details.get("description"), f"{name}.{field}"
