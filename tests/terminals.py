"""A terminal for a command that a test starts: what it shows, and how wide it is."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass
class Terminal:
    """A command and the bytes that it wrote."""

    process: "subprocess.Popen[bytes]"
    written: bytearray = field(default_factory=bytearray)

    @property
    def text(self) -> str:
        """All that was ever shown, in lines, without what moves the cursor or colours."""
        return ESCAPE.sub("", self.written.decode(errors="replace")).replace("\r", "\n")

    def shows(self, what: Callable[[str], object], seconds: float = 120) -> None:
        """Wait until its text is so."""
        deadline = time.monotonic() + seconds
        while not what(self.text):
            assert time.monotonic() < deadline, self.text[-4000:]
            assert self.process.poll() is None or what(self.text), self.text[-4000:]
            time.sleep(0.05)

    def read(self, ours: int) -> None:
        try:
            while piece := os.read(ours, 65536):
                self.written += piece
        except OSError:  # all have closed it: so Linux says it
            pass


@contextmanager
def in_terminal(command: Sequence[str], columns: int, **environment: str) -> Iterator[Terminal]:
    """The command with all its output in a terminal of so many columns; killed at the end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    variables = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    variables |= {"TERM": "xterm", "OMP_NUM_THREADS": "1", **environment}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=variables)
    os.close(theirs)
    terminal = Terminal(process)
    reader = threading.Thread(target=terminal.read, args=(ours,), daemon=True)
    reader.start()
    try:
        yield terminal
    finally:
        process.kill()
        process.wait()
        reader.join(10)
        os.close(ours)
