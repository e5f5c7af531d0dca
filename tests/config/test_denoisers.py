"""Denoisers in configs: their options stand among the section's own; mistakes are named where they stand."""

import pickle

import pytest

from phreg.config.denoisers import KNOWN, RefinedViewsConfig, ViewsConfig, parse_denoiser
from phreg.config.run import TargetConfig, parse_config
from phreg.config.table import TeacherRow
from phreg.errors import ConfigError
from phreg.method.denoising import DENOISERS, described
from tests.config.test_config import minimal


def targets(**fields: object) -> TargetConfig:
    return parse_config(minimal() | {"targets": {"denoised": fields}}).targets["denoised"]


def test_every_description_has_what_it_does_and_says_what_it_is() -> None:
    assert DENOISERS.keys() == KNOWN.keys()
    for name, kind in KNOWN.items():
        config = kind()
        assert config.method == name
        assert config.title
        assert config.in_words
        assert config.forward_passes > 0


def test_flat_fields_mean_views() -> None:
    assert targets().denoiser == ViewsConfig(views=10, max_shift=0.15)
    assert targets(views=3, encoding="int8").denoiser == ViewsConfig(views=3)
    assert targets(method="views", max_shift=0.3).denoiser == ViewsConfig(max_shift=0.3)


def test_equal_descriptions_are_equal_however_written() -> None:
    said = {"method": "refined_views", "combine": "trimmed_mean", "trim": 0.2}
    assert targets(**said).denoiser == targets(method="refined_views", combine="trimmed_mean").denoiser
    for denoiser in (targets(**said).denoiser, targets(method="refined_views").denoiser):
        assert parse_denoiser(denoiser.model_dump(mode="json")) == denoiser


def test_another_methods_options_stand_beside_the_sections() -> None:
    found = targets(method="refined_views", combine="median", views=5, encoding="float32")
    assert found.denoiser == RefinedViewsConfig(combine="median", views=5)
    assert found.encoding == "float32"


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"views": 1}, "this is 1 view"),
        ({"method": "refined_views"}, "this is 10 refined views"),
        ({"method": "test_time_registers"}, "this is test-time registers"),
    ],
)
def test_a_variance_wants_a_mean_over_views(fields: dict, found: str) -> None:
    assert targets(views=2, variance=True).variance
    assert targets(method="test_time_registers", then={"views": 3}, variance=True).variance
    with pytest.raises(ConfigError, match=rf"targets\.denoised: variance is that of a mean(?s:.)*{found}"):
        targets(variance=True, **fields)


def test_a_student_weighs_tokens_only_by_targets_that_say_how_sure_they_are() -> None:
    config = minimal()
    config["students"][0]["weigh_by_certainty"] = True
    with pytest.raises(ConfigError, match=r"'denoised' do not say how sure they are; .*`variance: true`"):
        parse_config(config)
    config["targets"]["denoised"]["variance"] = True
    assert parse_config(config).students[0].weigh_by_certainty


def test_a_denoiser_hands_on() -> None:
    alone = targets(method="test_time_registers").denoiser
    assert (alone.forward_passes, alone.title, alone.is_one_pass) == (1, "test-time registers", False)
    then = targets(method="test_time_registers", then="views").denoiser
    assert (then.forward_passes, then.title) == (10, "test-time registers, 10 views")
    chain = {"method": "position_subspace", "images": 40, "then": {"method": "refined_views", "views": 5}}
    both = targets(method="test_time_registers", then=chain).denoiser
    assert [part.method for part in both.parts()] == [
        "test_time_registers", "position_subspace", "refined_views",
    ]  # fmt: skip
    assert (both.forward_passes, both.calibration_images) == (5, 40)


def test_a_row_is_one_pass_unless_it_says_more() -> None:
    def row(**fields: object) -> TeacherRow:
        return TeacherRow.model_validate({"name": "a row", "read_out": "value", **fields})

    assert row().denoiser.is_one_pass
    assert row(views=4).denoiser == ViewsConfig(views=4)
    assert row(method="views").denoiser == ViewsConfig(views=10)
    assert row(method="refined_views").denoiser == RefinedViewsConfig()


def test_a_section_is_written_as_it_is_read() -> None:
    config = parse_config(minimal() | {"targets": {"denoised": {"method": "refined_views", "trim": 0.1,
                                                               "combine": "trimmed_mean"}}})  # fmt: skip
    written = config.model_dump(mode="json")
    assert written["targets"]["denoised"]["method"] == "refined_views"
    assert "denoiser" not in written["targets"]["denoised"]
    assert (
        type(config).model_validate(written | {"students": minimal()["students"]}).targets == config.targets
    )
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"method": "mean"}, "targets.denoised.method: expected one of views, refined_views"),
        ({"method": ["views"]}, "targets.denoised.method: expected one of views"),
        ({"method": "views", "combine": "mean"}, "denoised.combine: an option of method: refined_views"),
        ({"combine": "mean"}, "option of method: refined_views; this is method: views"),
        ({"method": "refined_views", "combin": "mean"}, "combin: unknown key; did you mean combine?"),
        ({"encodin": "int8"}, "targets.denoised.encodin: unknown key; did you mean encoding?"),
        ({"xyz": 1}, "denoised.xyz: unknown key; there are method, views, max_shift, crops_per_image"),
        ({7: 1}, "targets.denoised.7: unknown key"),
        ({"method": "refined_views", "combine": "mode"}, "targets.denoised.combine: Input should be 'mean'"),
        ({"method": "refined_views", "views": 1}, "at least 2 views to take a mean of, found 1"),
        ({"method": "refined_views", "views": 2, "combine": "median"}, "at least 3 views to take a median"),
        ({"method": "refined_views", "trim": 0.1}, "trim belongs to combine: trimmed_mean, and combine is"),
        ({"method": "refined_views", "outlier_factor": None}, "take that, or a combine"),
        ({"method": "test_time_registers", "views": 10}, "denoised.views: an option of method: views"),
        ({"method": "test_time_registers", "then": "mean"}, "denoised.then.method: expected one of views"),
        ({"method": "test_time_registers", "then": {"keep": 1}}, "denoised.then.keep: an option of method"),
        ({"method": "test_time_registers", "then": 3}, "denoised.then: expected a method's name, or"),
        ({"method": "test_time_registers", "then": "test_time_registers"}, "each method once"),
        ({"method": "test_time_registers", "neurons": []}, "denoised.neurons: Tuple should have at least 1"),
        ({"method": "position_subspace", "images": 1}, "denoised.images: Input should be greater than"),
        ({"method": "position_subspace", "directions": "é"}, "denoised.directions: String should match"),
        ({"method": "dvt", "views": 1}, "denoised.views: Input should be greater than or equal to 2"),
        ({"method": "dvt", "max_shift": 0}, "denoised.max_shift: Input should be greater than 0"),
        ({"method": "dvt", "steps": 0}, "denoised.steps: Input should be greater than 0"),
        ({"method": "dvt", "learning_rate": 0}, "denoised.learning_rate: Input should be greater than 0"),
        ({"steps": 9}, "denoised.steps: an option of method: dvt; this is method: views"),
        ({"denoiser": {"method": "views"}}, "targets.denoised.denoiser: unknown key"),
    ],
)  # fmt: skip
def test_mistakes_are_named_where_they_stand(fields: dict, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        targets(**{}) if not fields else parse_config(minimal() | {"targets": {"denoised": fields}})
    assert said in str(caught.value)


def test_methods_of_the_python_interface_are_checked_too() -> None:
    assert described({"method": "views", "views": 3}) == ViewsConfig(views=3)
    assert described("refined_views") == RefinedViewsConfig()
    for wrong, said in (
        ("mean", "views, refined_views"),
        ({"method": "views", "trim": 1}, "an option of method"),
    ):
        with pytest.raises(ConfigError, match=said):
            described(wrong)
