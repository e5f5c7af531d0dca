import json
import pickle

import pytest
from pydantic import ValidationError

from phreg.cache import TargetSpec
from phreg.config.denoisers import parse_denoiser
from phreg.errors import SpecMismatchError
from tests.cache.examples import make_spec

CHANGES = [
    {"teacher": {"architecture": "tiny vit", "weights": "1" * 64}},
    {"teacher": {"architecture": "other vit", "weights": "0" * 64}},
    {"read_out": "value"},
    {"precision": "bfloat16"},
    {"image_size": 32},
    {"grid_size": (3, 2)},
    {"dim": 6},
    {"mean": (0.5, 0.5, 0.4)},
    {"std": (0.25, 0.25, 0.2)},
    {"pos_embed_resize": "timm"},
    {"min_crop": 0.4},
    {"crops_per_image": 2},
    {"views": 3},
    {"max_shift": 0.1},
    {"denoiser": {"method": "refined_views", "views": 4}},
    {"seed": 1},
    {"encoding": "int8"},
    {"variance": True},
]


def test_every_field_changes_the_digest() -> None:
    specs = [make_spec(), *(make_spec(**change) for change in CHANGES)]
    assert len({spec.digest for spec in specs}) == len(specs)
    assert {name for change in CHANGES for name in change} | {"format_version"} == set(
        TargetSpec.model_fields
    )


def test_equal_specs_have_one_digest() -> None:
    assert make_spec().digest == make_spec().digest == make_spec(mean=[0.5, 0.5, 0.5]).digest
    assert make_spec(max_shift=0).digest == make_spec(max_shift=0.0).digest
    assert pickle.loads(pickle.dumps(make_spec())).digest == make_spec().digest


def test_the_digest_stays_what_it_was() -> None:
    """A change here makes every cache in the world unreachable: raise `format_version` if it must be."""
    assert make_spec().digest == "9199752443292061669415cd7ef156f98a3416ed208260e42c96c73373b17ca8"


@pytest.mark.parametrize(
    "denoiser",
    [
        *(
            {"method": "refined_views", "combine": how}
            for how in ("mean", "trimmed_mean", "median", "agreement")
        ),
        {"method": "dvt", "max_shift": make_spec().max_shift},
        {"method": "test_time_registers", "neurons": [[0, 3], [1, 2]], "then": "refined_views"},
        {"method": "position_subspace", "directions": "AAAAAA==", "then": {"views": 4}},
    ],
)
def test_a_denoiser_is_read_as_it_was_written(denoiser: dict) -> None:
    parsed = parse_denoiser(denoiser)
    spec = make_spec(denoiser=denoiser, views=parsed.view_count)
    assert TargetSpec.from_json(spec.to_json(), spec.digest, "url") == spec
    assert spec.denoised_by == parsed


def test_what_a_spec_says_twice_must_agree() -> None:
    for wrong in (
        {"denoiser": {"method": "refined_views", "views": 3}},
        {"denoiser": {"method": "views", "views": 4}},
        {"denoiser": {"method": "test_time_registers"}, "views": 1},
        {"denoiser": {"method": "refined_views", "views": 4}, "variance": True},
    ):
        with pytest.raises(
            ValidationError, match=r"not those of the denoiser|stand in the spec|not calibrated|no variance"
        ):
            make_spec(**wrong)


def test_json_round_trip() -> None:
    spec = make_spec("bfloat16", max_shift=0.1 + 0.2, variance=True)
    assert TargetSpec.from_json(spec.to_json(), spec.digest, "url") == spec


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields | {"seed": 1},
        lambda fields: fields | {"unknown": 1},
        lambda fields: fields | {"views": -1},
        lambda fields: fields | {"format_version": 3},
        lambda fields: {name: value for name, value in fields.items() if name != "dim"},
    ],
)
def test_an_altered_file_is_refused(change) -> None:
    spec = make_spec()
    data = json.dumps(change(json.loads(spec.to_json())), sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(SpecMismatchError, match=r"the/spec\.json"):
        TargetSpec.from_json(data, spec.digest, "the/spec.json")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff", make_spec().to_json()[:-1]])
def test_a_damaged_file_is_refused(data: bytes) -> None:
    with pytest.raises(SpecMismatchError):
        TargetSpec.from_json(data, make_spec().digest, "url")


def test_a_reformatted_file_is_refused() -> None:
    """The digest is of the canonical bytes; other bytes are another's work."""
    spec = make_spec()
    with pytest.raises(SpecMismatchError):
        TargetSpec.from_json(json.dumps(json.loads(spec.to_json()), indent=1).encode(), spec.digest, "url")


@pytest.mark.parametrize("change", [{"mean": (float("nan"), 0, 0)}, {"dim": 0}, {"encoding": "int4"}])
def test_impossible_values_are_refused(change: dict) -> None:
    with pytest.raises(ValidationError):
        make_spec(**change)
