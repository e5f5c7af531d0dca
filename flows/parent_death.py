"""A module run as a child process that ends when its parent does, however that ends, SIGKILL included.

The child holds the reading end of a pipe whose writing end only the parent has: once it is closed, the child
ends itself and what it started. This file stands alone, for it is also the program that the child runs:

    python flows/parent_death.py MODULE ARGUMENT ...
"""

import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

GRACE_S = 5.0  # between being asked to end and being made to


def start(
    arguments: Sequence[str], environment: Mapping[str, str], **options: Any
) -> subprocess.Popen[bytes]:
    """`python -m ARGUMENTS` that ends with this process; in its own session, out of Ctrl-C's reach."""
    return subprocess.Popen(  # noqa: S603 (our own interpreter)
        [sys.executable, "-P", __file__, *arguments],
        env=dict(environment),
        stdin=subprocess.PIPE,
        start_new_session=True,
        **options,
    )


def main() -> None:
    parent = os.dup(0)  # what runs here may do with its standard input what it likes
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end_with_parent(parent: int) -> None:
    while os.read(parent, 1):
        pass
    for kind in (signal.SIGTERM, signal.SIGKILL):
        os.killpg(0, kind)
        time.sleep(GRACE_S)


if __name__ == "__main__":
    main()
