"""A small disk that fills up: a tmpfs of its own, and ballast on it."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PAGE = os.sysconf("SC_PAGESIZE")


@dataclass(frozen=True)
class Disk:
    path: Path

    @property
    def ballast(self) -> Path:
        return self.path / "ballast"

    def leave(self, free: int) -> None:
        """Fill it up to so many free bytes, in whole pages."""
        room = shutil.disk_usage(self.path).free - free
        assert room >= 0, "it is fuller than that"
        with self.ballast.open("ab") as file:
            os.posix_fallocate(file.fileno(), file.tell(), room)

    def free(self) -> None:
        self.ballast.unlink()

    def left_over(self) -> list[str]:
        """Temporary files of interrupted writes."""
        return [str(path) for path in self.path.rglob(".phreg-*")]


@contextmanager
def small_disk(path: Path, size: int = 16 * 2**20) -> Iterator[Disk]:
    """Skips where nothing may be mounted."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("nothing can be mounted here: the tests of a full disk need root")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True, capture_output=True, timeout=60)
