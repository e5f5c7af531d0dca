"""Registrations and verdicts to try, and a folder whose writer dies."""

from collections.abc import Callable

from phreg.registry import Entry, Registry, Verdict
from phreg.storage import Folder

FILES = {
    "config.json": b"{}",
    "model.safetensors": b"weights",
    "README.md": b"# card",
    "curve.jsonl": b"{}\n",
    "figures/curve.png": b"png",
}


def judged(promoted: bool, *reasons: str) -> Callable[[Entry | None], Verdict]:
    return lambda champion: Verdict(promoted, reasons)


def register(registry: Registry, model: str = "demo", digest: str = "d1", **changes: object) -> Entry:
    arguments: dict = {
        "files": FILES,
        "student": "reg16",
        "student_digest": digest,
        "metrics": {"outlier_rate": 0.01},
        "teacher_metrics": {"outlier_rate": 0.05},
        "lineage": {"student_digest": digest},
        "benchmark": "b1",
    }
    return registry.register(model, **(arguments | changes))


class Power(Exception):
    """The writer's machine went off."""


class DiesAt(Folder):
    """A folder whose writer dies at the first object with a certain beginning (in the options)."""

    def __truediv__(self, path: str) -> Folder:
        return DiesAt(super().__truediv__(path).url, self.options)

    def write(self, path: str, data: bytes) -> None:
        self._die_at(path)
        super().write(path, data)

    def create(self, path: str, data: bytes) -> bool:
        self._die_at(path)
        return super().create(path, data)

    def _die_at(self, path: str) -> None:
        if path.startswith(self.options["under"]):
            raise Power
