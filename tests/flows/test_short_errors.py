import logging
import sys

import pytest

from flows import run  # noqa: F401  (what a Prefect worker imports)
from phreg.errors import ConfigError


@pytest.mark.parametrize(("error", "kept"), [(ConfigError("no such file"), False), (KeyError("x"), True)])
@pytest.mark.parametrize("name", ["prefect.flow_runs", "prefect.task_runs"])
def test_errors_of_ours_are_logged_without_a_traceback_whoever_runs_the_flow(
    name: str, error: Exception, kept: bool
) -> None:
    try:
        raise error
    except Exception:
        raised = sys.exc_info()
    record = logging.LogRecord(name, logging.ERROR, __file__, 1, "it failed", (), raised)
    assert logging.getLogger(name).filter(record)
    assert (record.exc_info is not None) == kept
