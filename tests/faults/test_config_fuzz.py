"""The config readers under fuzzing: a config, or a ConfigError that names the field; never anything else."""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phreg.config.run import RunConfig, load_config, parse_config
from phreg.config.table import TableConfig, load_table
from phreg.errors import ConfigError

pytestmark = [pytest.mark.timeout(240), pytest.mark.filterwarnings("ignore::UserWarning")]
FUZZ = settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
VALID: dict[str, Any] = {
    "name": "test",
    "images": ["a/{000..001}.tar", "b.tar"],
    "validation": "a/002.tar",
    "output": "runs/test",
    "teacher": {"model": "timm/vit_tiny_patch16_224", "mean": [0.1, 0.2, 0.3]},
    "targets": {"denoised": {"views": 4}, "raw": {"views": 1}},
    "students": [
        {"name": "reg16", "targets": "denoised", "unlock": ["registers"]},
        {"name": "more", "targets": "raw", "grid": {"registers": [1, 4]}},
    ],
    "generation": {"max_actors": 2},
    "evaluation": {"targets": "raw"},
    "labels": {"sets": [{"name": "a", "kind": "folder", "root": "a", "segmentation": {"window": 8}}]},
    "gate": {"rules": [{"metric": "shift_cosine_mean", "against": "champion"}]},
}
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["none", "~\0", "s3://u:p@h", "../..", "timm/x", "denoised", 10**90])
)
PLAIN = st.recursive(
    SCALARS | st.binary(max_size=3) | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(SCALARS | st.sampled_from(["name", "grid", "targets", "views"]), inner, max_size=4)
    ),
    max_leaves=12,
)


def refusal(make: Callable[[], object], kind: type = RunConfig) -> ConfigError | None:
    """Why there is no config; nothing if there is one. Any other exception is the fuzzer's find."""
    try:
        config = make()
    except ConfigError as error:
        return error
    assert isinstance(config, kind)
    return None


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in nested containers."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, key))
        else:
            yield (*path, key)


PLACES = sorted((path for path in places(VALID) if path), key=str)


def changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    data = copy.deepcopy(VALID)
    node: Any = data
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return data


def test_the_config_that_is_mutated_is_valid() -> None:
    assert isinstance(parse_config(copy.deepcopy(VALID)), RunConfig)


@FUZZ
@given(st.dictionaries(st.sampled_from(sorted(VALID)) | st.text(max_size=5), PLAIN, max_size=6))
def test_arbitrary_data(data: dict[str, Any]) -> None:
    error = refusal(lambda: parse_config(data))
    if error is not None:
        assert "mistake" in error.problem
        assert ":" in error.found


@FUZZ
@given(st.sampled_from(PLACES), PLAIN)
def test_one_value_replaced(path: tuple[Any, ...], value: Any) -> None:
    """The mistake is named by its field, or, where several must agree, by a sentence about the whole."""
    error = refusal(lambda: parse_config(changed(path, value)))
    if error is not None:
        found = [line.strip().partition(": ")[0] for line in error.found.splitlines() if line.strip()]
        top = str(path[0])
        assert found
        assert all(name == "config" or name.split(".")[0] == top for name in found), error.found


@FUZZ
@given(PLAIN, st.sampled_from(PLACES))
def test_files_of_yaml(tmp_path: Path, value: Any, path: tuple[Any, ...]) -> None:
    file = tmp_path / "run.yaml"
    for data in (value, changed(path, value)):
        file.write_text(yaml.dump(data, allow_unicode=True), encoding="utf-8", errors="surrogatepass")
        for load, kind in ((load_config, RunConfig), (load_table, TableConfig)):
            error = refusal(partial(load, file), kind)
            assert error is None or str(error)


@FUZZ
@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace")))
def test_files_of_anything(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "run.yaml"
    file.write_bytes(data)
    with pytest.raises(ConfigError):
        load_config(file)


YAML_PIECES = st.lists(
    st.sampled_from(
        [
            *("&a ", "*a", "<<: ", "- ", "? ", ": ", "[", "]", "{", "}", "\n", "  ", "---\n", "%YAML 1.1\n"),
            *(
                "!!set ",
                "!!float ",
                "!!int ",
                "!!bool ",
                "!!binary ",
                "!!timestamp ",
                "!!python/name:os.system ",
            ),
            *(
                "|\n",
                ">",
                "'",
                '"',
                "#",
                "x",
                "0x1f",
                "1:30",
                ".nan",
                "2020-01-01",
                "~",
                "\t",
                "\ufeff",
                "\x85",
            ),
        ]
    ),
    max_size=25,
)


@FUZZ
@given(YAML_PIECES)
def test_pieces_of_yaml(tmp_path: Path, pieces: list[str]) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("".join(pieces), encoding="utf-8")
    with pytest.raises(ConfigError):
        load_config(file)


@FUZZ
@given(
    st.lists(
        st.text(max_size=30)
        | st.builds(
            lambda path, value: ".".join(map(str, path)) + "=" + value,
            st.sampled_from(PLACES) | st.lists(st.text(max_size=4) | st.integers(), max_size=4),
            st.text(max_size=10) | PLAIN.map(lambda v: yaml.dump(v, default_flow_style=True).strip()),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_overrides(tmp_path: Path, overrides: list[str]) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(VALID))
    error = refusal(lambda: load_config(file, overrides))
    assert error is None or len(str(error)) < 10_000
