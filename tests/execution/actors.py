"""An actor for tests of the pool: an item is (name, what to do, ...)."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import ray


class Performer:
    """Notes each attempt in `folder`, so that tests can count them."""

    def __init__(self, folder: Path, start: str = "") -> None:
        self.folder, self.start, self.steps = folder, start, 0
        folder.mkdir(exist_ok=True)
        if start == "exit":
            os._exit(1)
        if start == "raise":
            raise OSError("no such device")

    def process(self, item: tuple[Any, ...]) -> tuple[str, str]:
        name, action, *arguments = item
        attempt = len(list(self.folder.glob(f"{name}.*"))) + 1
        node = ray.get_runtime_context().get_node_id()
        (self.folder / f"{name}.{attempt}").write_text(f"{os.getpid()} {node}")
        getattr(self, f"_{action}")(attempt, *arguments)
        return name, node

    def progress(self) -> int:
        return self.steps

    def _hang(self, attempt: int, attempts: int) -> None:
        """For good, at the first `attempts` attempts."""
        if attempt <= attempts:
            time.sleep(600)

    def _go_on(self, attempt: int, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.steps += 1
            time.sleep(0.02)

    def _work(self, attempt: int, seconds: float = 0.0) -> None:
        time.sleep(seconds)

    def _kill(self, attempt: int, attempts: int) -> None:
        """SIGKILL to its own process, at the first `attempts` attempts."""
        if attempt <= attempts:
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)

    def _fail(self, attempt: int, attempts: int) -> None:
        if attempt <= attempts:
            raise OSError(f"attempt {attempt}")

    def _wrong(self, attempt: int) -> None:
        from phreg.errors import ShardError  # here, because phreg's torch takes seconds to import

        raise ShardError("this shard is cut short", "all of it", "half of it")

    def _wait_for(self, attempt: int, flag: Path) -> None:
        while not flag.exists():
            time.sleep(0.02)
