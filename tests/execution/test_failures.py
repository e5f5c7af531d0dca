import pytest
from ray.train import ControllerError, WorkerGroupError

from phreg.errors import (
    MissingTargetsError,
    ObjectNotFoundError,
    PermanentStorageError,
    StorageError,
    TrainingError,
    is_permanent_error,
)
from phreg.execution.failures import explained
from tests.distill.test_job import JOB


@pytest.mark.parametrize(
    ("error", "mistake"),
    [
        (MissingTargetsError("gone"), True),
        (TrainingError("not finite"), True),
        (ObjectNotFoundError("no bucket"), True),
        (PermanentStorageError("no such operation"), True),
        (StorageError("no connection"), False),
        (RuntimeError("connection reset by peer"), False),
    ],
)
def test_only_what_may_pass_is_tried_again(error: Exception, mistake: bool) -> None:
    assert is_permanent_error(error) == mistake


def test_a_worker_s_own_error_is_the_one_raised() -> None:
    ours = MissingTargetsError("gone")
    assert explained([JOB], WorkerGroupError("text", {0: RuntimeError("reset"), 1: ours})) is ours
    assert explained([JOB], ControllerError(ours)) is ours


def test_any_other_becomes_a_training_error_that_says_how_to_go_on() -> None:
    error = explained([JOB], WorkerGroupError("text", {1: RuntimeError("out of memory")}))
    assert isinstance(error, TrainingError)
    assert "out of memory" in str(error)
    assert "go on" in str(error)
    assert isinstance(explained([JOB], None), TrainingError)
