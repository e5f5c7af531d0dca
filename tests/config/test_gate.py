"""Rules of the gate as they are written."""

import pytest

from phreg.config.gate import GateRule
from phreg.config.run import parse_config
from phreg.errors import ConfigError
from tests.config.test_config import minimal

LABELS = {
    "sets": [{"name": name, "kind": "voc21", "root": "voc"} for name in ("VOC21", "a.miou")],
    "probes": [
        {
            "name": "street",
            "task": "segmentation",
            "train": {"kind": "folder", "root": "a"},
            "test": {"kind": "folder", "root": "b"},
        }
    ],
}


@pytest.mark.parametrize(
    ("written", "column", "measure"),
    [
        ("VOC21.miou", "VOC21", "mIoU"),
        ("VOC21.mIoU", "VOC21", "mIoU"),
        ("VOC21 mIoU", "VOC21", "mIoU"),
        ("VOC21.pixel_accuracy", "VOC21", "pixel accuracy"),
        ("VOC21 pixel accuracy", "VOC21", "pixel accuracy"),
        ("a.miou.miou", "a.miou", "mIoU"),
        ("shift_cosine_mean", None, "shift_cosine_mean"),
    ],
)
def test_a_metric_is_of_a_labelled_set_or_of_none(written: str, column: str | None, measure: str) -> None:
    rule = GateRule(metric=written)
    assert (rule.column, rule.measure) == (column, measure)
    assert GateRule.model_validate(rule.model_dump()) == rule


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"metric": "VOC20.miou"}, "gate.rules.0: no labelled set is called 'VOC20'; labels.sets has VOC21"),
        ({"metric": "street.miou"}, "'street' is a probe"),
        ({"metric": "VOC21.rmse"}, "no such metric"),
        ({"metric": "VOC21.miou", "margin": 1, "not_worse_than": 1}, "not both"),
        ({"metric": "VOC21.miou", "not_worse_than": -1}, "gate.rules.0.not_worse_than"),
        ({"metric": "VOC21.miou", "confidence": 1}, "gate.rules.0.confidence"),
        ({"metric": "VOC21.miou", "against": "teachers"}, "gate.rules.0.against"),
    ],
)
def test_rules_that_cannot_be_judged_are_refused_when_they_are_read(rule: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(minimal() | {"labels": LABELS, "gate": {"rules": [rule]}})
    assert message in str(caught.value)


def test_rules_on_sets_that_are_configured_are_read() -> None:
    rules = [
        {"metric": "VOC21.miou", "not_worse_than": 0.5},
        {"metric": "a.miou.miou", "against": "champion"},
    ]
    config = parse_config(minimal() | {"labels": LABELS, "gate": {"rules": rules}})
    assert [rule.needed for rule in config.gate.labelled_rules] == [-0.5, 0.0]
    assert not parse_config(minimal() | {"labels": LABELS}).gate.labelled_rules
