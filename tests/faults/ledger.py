"""What each fault came to: one JSON line a trial, from which `benchmarks/faults.py` makes its table."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

LEDGER = "PHREG_FAULTS_LEDGER"  # where trials are noted; unset, they are only asserted


@dataclass
class Trial:
    """One fault, once. `repeated`: what was made more than once, in `unit`; `lost`: what is missing or wrong
    afterwards; `rerun`: whether the same command had to be given again; `note`: what else was measured.
    `survived` is set by the ledger."""

    fault: str
    group: str
    unit: str
    repeated: int = 0
    lost: int = 0
    rerun: bool = False
    note: str = ""
    survived: bool = False


@contextmanager
def trial(group: str, fault: str, unit: str = "shards") -> Iterator[Trial]:
    """Put the fault and all its assertions inside: leaving without an exception is surviving."""
    this = Trial(fault, group, unit)
    try:
        yield this
        this.survived = True
    finally:
        if os.environ.get(LEDGER):
            with Path(os.environ[LEDGER]).open("a") as file:
                file.write(json.dumps(asdict(this)) + "\n")
