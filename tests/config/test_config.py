import os
from pathlib import Path

import pytest
import yaml

from phreg.config.model import ConfigModel
from phreg.config.run import RunConfig, load_config, parse_config
from phreg.config.strict_yaml import parse_yaml
from phreg.config.table import TableConfig
from phreg.errors import ConfigError


def minimal() -> dict:
    return {
        "name": "test",
        "images": "a/{000..001}.tar",
        "validation": "a/002.tar",
        "output": "runs/test",
        "teacher": {"model": "timm/vit_tiny_patch16_224"},
        "targets": {"denoised": {}},
        "students": [{"name": "reg16", "targets": "denoised"}],
    }


def written(path: Path, data: dict) -> Path:
    path.write_text(yaml.safe_dump(data))
    return path


def test_papers_choices_are_the_defaults() -> None:
    config = parse_config(minimal())
    targets, student = config.targets["denoised"], config.students[0]
    assert (targets.denoiser.views, targets.denoiser.max_shift) == (10, 0.15)
    assert (student.registers, student.learning_rate, student.final_learning_rate) == (16, 1e-4, 5e-6)
    assert student.weight_decay == 1e-2
    assert student.unlock == ("registers", "pos_embed", "patch_embed", "last_block")


@pytest.mark.parametrize("field", ["generation.gpus_per_actor", "training.gpus_per_worker"])
def test_an_actor_or_worker_uses_one_gpu_or_a_share_of_one(field: str) -> None:
    section, name = field.split(".")
    for good in (0, 0.25, 1):
        assert getattr(getattr(parse_config(minimal() | {section: {name: good}}), section), name) == good
    for bad in (1.5, 2, -1):
        with pytest.raises(ConfigError, match=rf"{field}: expected 0 to 1, found {bad}\b.*one GPU"):
            parse_config(minimal() | {section: {name: bad}})


def test_parallel_students_are_a_number_or_auto() -> None:
    assert parse_config(minimal()).training.parallel_students == "auto"
    for good in ("auto", 1, 8):
        config = parse_config(minimal() | {"training": {"parallel_students": good}})
        assert config.training.parallel_students == good
    for bad in (0, -1, "all", 1.5, True, None):
        with pytest.raises(ConfigError, match=r"training\.parallel_students: expected `auto`.*at least 1"):
            parse_config(minimal() | {"training": {"parallel_students": bad}})


def test_folders_default_to_the_output() -> None:
    config = parse_config(minimal() | {"output": "s3://bucket/run/"})
    assert config.cache_url == "s3://bucket/run/cache"
    assert config.registry_url == "s3://bucket/run/registry"
    assert parse_config(minimal() | {"cache": "s3://shared/cache"}).cache_url == "s3://shared/cache"


def test_no_registers_is_said_in_words() -> None:
    item = {"name": "a", "targets": "denoised", "grid": {"registers": ["none", 1]}}
    without, one = parse_config(minimal() | {"students": [item]}).students
    assert (without.registers, without.name) == (None, "a-registersnone")
    assert one.registers == 1


def test_grid_expands_to_the_product() -> None:
    students = [
        {"name": "a", "targets": "denoised", "grid": {"registers": [1, 4], "learning_rate": [0.1, 0.2]}}
    ]
    config = parse_config(minimal() | {"students": students})
    assert [s.name for s in config.students] == [
        "a-registers1-learning_rate0.1",
        "a-registers1-learning_rate0.2",
        "a-registers4-learning_rate0.1",
        "a-registers4-learning_rate0.2",
    ]
    assert [(s.registers, s.learning_rate) for s in config.students] == [
        (1, 0.1),
        (1, 0.2),
        (4, 0.1),
        (4, 0.2),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, "colour: unknown key"),
        ({"colour": "red"}, "unknown key; there are name, images"),
        (
            {"teacher": {"model": "x", "precison": "float32"}},
            "precison: unknown key; did you mean precision?",
        ),
        (
            {"students": [{"name": "a", "targets": "denoised", "learing_rate": 1}]},
            "learing_rate: unknown key; did you mean learning_rate?",
        ),
        ({"targets": {"denoised": {"view": 1}}}, "targets.denoised.view: unknown key; did you mean views?"),
        ({"labels": {"sets": [{"nme": "a"}]}}, "labels.sets.0.nme: unknown key; did you mean name?"),
        ({"name": "../up"}, "name: a name has letters, digits and any of . _ - (no spaces)"),
        (
            {"output": "s3:/bucket/x"},
            "output: a URL has two slashes after its colon: did you mean s3://bucket/x?",
        ),
        ({"images": ["a.tar", "s3:/bucket/x"]}, "images.1: a URL has two slashes"),
        ({"cache": "file:/tmp/x"}, "did you mean file:///tmp/x?"),
        ({"images": ["a.tar", "b.tar", "a.tar"]}, "images: a.tar is given twice"),
        ({"images": []}, "images:"),
        ({"seed": float("nan")}, "seed:"),
        ({"max_quarantined": 2}, "max_quarantined:"),
        ({"targets": {}}, "targets:"),
        ({"targets": {"denoised": {"views": 0}}}, "targets.denoised.views:"),
        ({"targets": {"denoised": {"max_shift": float("inf")}}}, "targets.denoised.max_shift:"),
        ({"targets": {"denoised": {"encoding": "int4"}}}, "targets.denoised.encoding:"),
        ({"students": []}, "students:"),
        ({"students": [{"name": "a", "targets": "raw"}]}, "names targets 'raw'"),
        ({"students": [{"name": "a", "targets": "denoised", "registers": 0}]}, "`none` is the ablation"),
        ({"students": [{"name": "a", "targets": "denoised"}] * 2}, "share the name 'a'"),
        ({"students": [{"name": "teacher", "targets": "denoised"}]}, "cannot be called 'teacher'"),
        ({"students": [{"name": "teacher, 10 views", "targets": "denoised"}]}, "students.0.name:"),
        ({"students": [{"name": "a", "targets": "denoised", "grid": {"registers": 4}}]}, "grid maps fields"),
        (
            {"students": [{"name": "a", "targets": "denoised", "registers": 1, "grid": {"registers": [4]}}]},
            "both by itself and in its grid",
        ),
        ({"generation": {"min_actors": 3, "max_actors": 2}}, "below min_actors"),
        ({"gate": {"rules": [{"metric": "beauty"}]}}, "no such metric"),
        ({"evaluation": {"targets": "raw"}}, "evaluation.targets is 'raw'"),
    ],
)
def test_mistakes_are_named(change: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(minimal() | change)
    assert message in str(caught.value)


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({"nmae": "x"})
    assert "nmae: unknown key" in str(caught.value)
    assert "teacher: missing" in str(caught.value)


def test_overrides(tmp_path: Path) -> None:
    path = written(tmp_path / "run.yaml", minimal())
    config = load_config(
        path,
        ["students.0.registers=4", "targets.raw={views: 1}", "training.workers=2", "images=[x.tar, y.tar]"],
    )
    assert config.students[0].registers == 4
    assert config.targets["raw"].denoiser.views == 1
    assert config.training.workers == 2
    assert config.images == (os.path.abspath("x.tar"), os.path.abspath("y.tar"))


@pytest.mark.parametrize(
    "override", ["seed", "=1", "students.7.registers=1", "students.x=1", "name.first=1", "seed=[", "seeed=1"]
)
def test_wrong_overrides(override: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        load_config(written(tmp_path / "run.yaml", minimal()), [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "not a mapping"),
        ("name: [", "Cannot parse"),
        ("name: a\nname: b", "'name' given twice"),
        ("a: !!python/object/apply:os.system ['true']", "Cannot parse"),
        ("a" * (1 << 20) + "b", "too large"),
        ("", "an empty file"),
        ("run: run.yaml\nname: a", r"config of a table, not of a run(?s:.)*phreg table "),
    ],
)
def test_hostile_and_broken_yaml(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_config(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="found: a folder"):
        load_config(tmp_path)


def test_every_field_of_the_config_is_checked_not_coerced_silently() -> None:
    with pytest.raises(ConfigError):
        parse_config(minimal() | {"seed": 1.5})


def test_frozen() -> None:
    config = parse_config(minimal())
    with pytest.raises(ValueError, match="frozen"):
        config.name = "other"  # type: ignore[misc]
    assert RunConfig.model_validate(config.model_dump(mode="json")) == config


def test_local_paths_become_absolute_and_urls_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Ray worker may have another working directory than the driver."""
    monkeypatch.chdir(tmp_path)
    teacher = {"model": "local-dir:teacher", "checkpoint": "s3://bucket/weights"}
    student = {"name": "a", "targets": "denoised"}
    other = student | {"name": "b", "model": "local-dir:student", "checkpoint": "w.safetensors"}
    changes = {"teacher": teacher, "cache": "s3://b/c", "students": [student, other]}
    config = load_config(written(tmp_path / "run.yaml", minimal() | changes))
    assert config.images == (f"{tmp_path}/a/{{000..001}}.tar",)
    assert config.output == f"{tmp_path}/runs/test"
    assert config.cache_url == "s3://b/c"
    assert config.teacher.model == f"local-dir:{tmp_path}/teacher"
    assert config.teacher.checkpoint == "s3://bucket/weights"
    assert config.students[0].files == []
    assert config.students[1].files == [f"{tmp_path}/w.safetensors", f"{tmp_path}/student"]


def test_every_field_is_described() -> None:
    sections = [ConfigModel]
    for section in sections:
        sections += section.__subclasses__()
    bare = [
        f"{section.__name__}.{name}"
        for section in sections
        if section.__module__.startswith("phreg.")
        for name, field in section.model_fields.items()
        if not field.description
    ]
    assert TableConfig in sections
    assert bare == []


SECRET = "canary" * 20  # long enough that shortening a message would cut it in two


@pytest.mark.parametrize(
    "change",
    [
        {"seed": f"s3://user:{SECRET}@host/a"},
        {"images": [f"s3://user:{SECRET}@host/a\n"]},
        {"targets": {"denoised": {"views": [f"s3://user:{SECRET}@host/a"]}}},
        {f"s3://user:{SECRET}@host/a": 1},
    ],
)
def test_mistakes_show_no_half_of_a_password(change: dict) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(minimal() | change)
    assert "canary" not in str(caught.value)
    assert "mistake" in str(caught.value)


@pytest.mark.parametrize(
    "text", [f"a: [s3://user:{SECRET}@host/a, ]]\nb: 1", f"a: s3://user:{SECRET}@host/a: b: {{"]
)
def test_yaml_mistakes_show_no_half_of_a_password(text: str, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(ConfigError, match="line 1, column") as caught:
        load_config(tmp_path / "run.yaml")
    assert "canary" not in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        load_config(written(tmp_path / "run.yaml", minimal()), [f"name.x=s3://user:{SECRET}@host/a"])
    assert "canary" not in str(caught.value)


def test_keys_that_override_merged_ones_may_be_merged_again() -> None:
    text = "a: &a {x: 0, y: 0}\nb:\n  inner: &b {<<: *a, x: 1}\nc:\n  in: {<<: *b, x: 2}\n"
    text += "d: {in: {<<: *b}}\n"
    found = parse_yaml(text, "a text")
    assert (found["b"]["inner"], found["c"]["in"]) == ({"x": 1, "y": 0}, {"x": 2, "y": 0})
    assert found["d"]["in"] == {"x": 1, "y": 0}
    for twice in ("{k: [{x: 1, x: 2}]}", "{k: {<<: {x: 1, x: 2}}}", "? {x: 1, x: 2}\n: 1"):
        with pytest.raises(ConfigError, match="'x' given twice"):
            parse_yaml(twice, "a text")


@pytest.mark.parametrize(
    "url",
    [
        "http://user:canary@host/a.tar",
        "s3://AK:a/canary+/@b/x",
        "s3://b/a?X-Amz-Signature=canary",
        "https://h/a?sv=1&sig=canary",
    ],
)
def test_credentials_in_what_prefect_keeps_as_parameters_are_refused(url: str, tmp_path: Path) -> None:
    path = written(tmp_path / "run.yaml", minimal())
    for arguments in ((path, [f"images={url}"]), (path, [f"cache={{a: {url}}}"]), (url, [])):
        with pytest.raises(ConfigError, match="carries credentials") as caught:
            load_config(*arguments)
        assert "canary" not in str(caught.value)
    load_config(path, ["images=http://host/a.tar?version=3", "output=sftp://me@host/run"])
    load_config(written(path, minimal() | {"images": url}))
