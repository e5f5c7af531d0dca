"""What a student's only worker opens to the network: nothing."""

import contextlib
from pathlib import Path

import pytest
import ray  # noqa: F401  (makes the psutil it brings importable)

from phreg.distill.progress import StudentProgress
from phreg.execution.cluster import connect
from phreg.execution.train import distil
from tests.distill.jobs import make_job


def test_a_lone_worker_opens_no_port_to_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's process group, which one worker does not need, listens on all addresses."""
    psutil = pytest.importorskip("psutil")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    open_ports: set[str] = set()

    def look(progress: StudentProgress) -> None:
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "RayTrainWorker" in " ".join(process.cmdline()):
                    sockets = process.net_connections(kind="tcp")
                    open_ports.update(s.laddr.ip for s in sockets if s.status == psutil.CONN_LISTEN)

    with connect():
        report = distil(make_job(tmp_path, epochs=10), str(tmp_path / "output"), on_progress=look)
    assert report.steps > 0
    assert open_ports  # it was seen at work
    assert not open_ports & {"0.0.0.0", "::"}
