"""Every case of the table of hostile input, in processes with bounded time and memory."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.hostile import CASES
from tests.faults.hostile.case import Case
from tests.faults.ledger import trial

pytestmark = pytest.mark.timeout(900)
Outcomes = dict[str, tuple[str, str]]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """What came of each case. A case that ends its process (a hang, a crash) costs only itself."""
    found: Outcomes = {}
    folder = tmp_path_factory.mktemp("hostile")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    while len(found) < len(CASES):
        run = subprocess.run(
            [sys.executable, "-m", "tests.faults.hostile.run", str(folder), str(len(found))],
            capture_output=True, text=True, env=environment, cwd=ROOT,
        )  # fmt: skip
        for line in run.stdout.splitlines():
            case, comes, says, _ = json.loads(line)
            found[case] = (comes, says)
        if len(found) < len(CASES):
            found[CASES[len(found)].id] = ("!died", run.stderr[-2000:])
    return found


def test_the_table_is_as_long_as_was_asked() -> None:
    assert len({case.id for case in CASES}) == len(CASES) >= 60
    assert min(Counter(case.kind for case in CASES).values()) >= 5


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_hostile_input(case: Case, outcomes: Outcomes) -> None:
    with trial("hostile and broken input, each try another case", f"{case.kind} cases", unit="cases"):
        comes, says = outcomes[case.id]
        assert comes == case.comes, says
        assert re.search(case.says, says, re.DOTALL)
        assert "MemoryError" not in says
        assert len(says) < 20_000
