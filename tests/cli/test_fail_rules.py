"""Rules for `--fail-if`: what holds, and what is refused before anything is loaded."""

import pytest

from phreg.cli.fail_rules import fail_rule
from phreg.cli.main import main
from phreg.types import HIGHER_IS_BETTER, KEPT_FROM_TEACHER

METRICS = {"artifact_rate": 0.02, "norm_ratio": 5.6, "shift_cosine_mean": 0.9}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("artifact_rate > 0.01", True),
        ("artifact_rate>0.02", False),
        (" artifact_rate >= 2e-2 ", True),
        ("norm_ratio < 5.6", False),
        ("norm_ratio<=5.6", True),
        ("norm_ratio == 5.6", True),
        ("norm_ratio != 5.6", False),
        ("shift_cosine_mean < +1", True),
        ("shift_cosine_mean < -.5", False),
    ],
)
def test_what_holds(text: str, holds: bool) -> None:
    assert fail_rule(text).holds(METRICS) is holds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no rule"),
        ("artifact_rate", "no rule"),
        ("artifact_rate > ", "no rule"),
        ("artifact_rate 0.01", "no rule"),
        ("> 0.01", "no rule"),
        ("artifact_rate => 0.01", "no rule"),
        ("artifact_rate > 0.01 or norm_ratio > 2", "no rule"),
        ("artifacts > 0.01", "there are artifact_rate, norm_ratio"),
        ("Artifact_rate > 0.01", "there are artifact_rate, norm_ratio"),
        ("artifact_rate > 1%", "no number"),
        ("artifact_rate > nan", "no number"),
        ("artifact_rate > inf", "no number"),
        ("artifact_rate > norm_ratio", "no number"),
    ],
)
def test_what_is_no_rule_is_refused_before_a_model_is_looked_for(
    text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(
            ["inspect", "local-dir:nowhere", "nothing.jpg", "--fail-if", "norm_ratio > 2", "--fail-if", text]
        )
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_an_unknown_metric_lists_all_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["inspect", "local-dir:nowhere", "nothing.jpg", "--fail-if", "x > 1"])
    error = capsys.readouterr().err
    assert [name for name in HIGHER_IS_BETTER if name not in error] == list(KEPT_FROM_TEACHER)
