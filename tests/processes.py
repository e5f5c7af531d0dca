"""Processes that tests start and signal: told by a mark that all they start inherits, and gone at the end."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.prefect_homes import prefect_home

PHREG = [sys.executable, "-c", "import sys; from phreg.cli import main; sys.exit(main())"]
MARK = "PHREG_TEST_MARK"


@dataclass
class Started:
    """A process in a session of its own, as from a terminal, and what it wrote."""

    process: subprocess.Popen[bytes]
    log: Path
    mark: str

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def pid(self) -> int:
        return self.process.pid

    def until(self, happened: Callable[[], object], seconds: float = 240) -> None:
        """Wait while it runs; an assertion fails with its output."""
        deadline = time.monotonic() + seconds
        while not happened():
            assert self.process.poll() is None, f"it ended with {self.process.returncode}: {self.tail}"
            assert time.monotonic() < deadline, f"nothing within {seconds:g} s: {self.tail}"
            time.sleep(0.05)

    def says(self, what: str, seconds: float = 240) -> None:
        self.until(lambda: what in self.text, seconds)

    def runs(self, what: str, seconds: float = 240) -> None:
        """Wait until it has a process with this in its command line."""
        self.until(lambda: any(what in command for command in self.processes().values()), seconds)

    def ends(self, seconds: float = 240) -> int:
        """Its exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still there after {seconds:g} s: {self.tail}") from None

    def interrupt(self, kind: signal.Signals) -> None:
        """A terminal's Ctrl-C goes to the whole group, other signals to the process."""
        if kind is signal.SIGINT:
            os.killpg(self.pid, kind)
        else:
            self.process.send_signal(kind)

    def kill(self) -> "Started":
        """SIGKILL to it alone; what it started notices or not: see `gone`."""
        self.process.kill()
        self.process.wait(60)
        return self

    def processes(self) -> dict[int, str]:
        """The command lines of it and of all that it started."""
        return marked(self.mark)

    def gone(self, seconds: float = 180) -> None:
        """Wait until nothing is left. Ray's agents take some 40 s to notice that their driver was killed."""
        deadline = time.monotonic() + seconds
        while left := self.processes():
            assert time.monotonic() < deadline, f"left after {seconds:g} s: {left}"
            time.sleep(0.2)

    @property
    def tail(self) -> str:
        return self.text[-4000:]


@dataclass
class Starter:
    """Starts processes in a folder, with an environment; kills what is left of them."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    started: list[Started] = field(default_factory=list)

    def start(self, command: Sequence[str], cwd: Path | None = None, **environment: str) -> Started:
        """Its input is a pipe that ends with this process, as `flows.parent_death` does."""
        mark = uuid.uuid4().hex
        log = self.folder / f"log-{len(self.started)}"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, env={**os.environ, **self.environment, **environment, MARK: mark},
                cwd=cwd or self.folder, stdin=subprocess.PIPE, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        self.started.append(Started(process, log, mark))
        return self.started[-1]

    def phreg(self, *arguments: str, **environment: str) -> Started:
        return self.start([*PHREG, *arguments], **environment)

    def close(self) -> None:
        for each in self.started:
            each.process.kill()
            for pid in each.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            each.process.wait(60)


@contextlib.contextmanager
def starter(folder: Path, **environment: str) -> Iterator[Starter]:
    """With a Prefect home of its own in the folder, unless the environment has one."""
    folder.mkdir(parents=True, exist_ok=True)
    home = environment.get("PREFECT_HOME") or prefect_home(folder)
    this = Starter(folder, {"OMP_NUM_THREADS": "1"} | environment | {"PREFECT_HOME": home})
    try:
        yield this
    finally:
        this.close()


def marked(mark: str) -> dict[int, str]:
    """Command lines of the processes that inherited this mark, by pid."""
    found = {}
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"{MARK}={mark}\0".encode() in environ.read_bytes():
                command = (environ.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found[int(environ.parent.name)] = command
    return found
