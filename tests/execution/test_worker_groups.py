"""What training workers open to the network: nothing."""

import contextlib
from pathlib import Path

import pytest
import ray  # noqa: F401  (makes the psutil it brings importable)

from phreg.distill.progress import StudentProgress
from phreg.execution.cluster import connect
from phreg.execution.train import distil
from tests.distill.jobs import make_job


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_open_no_port_to_the_network(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's process group listens on all addresses, unless it is given a socket of ours."""
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
        job = make_job(tmp_path, epochs=10, training={"workers": workers})
        report = distil(job, str(tmp_path / "output"), on_progress=look)
    assert report.steps > 0
    assert open_ports  # they were seen at work
    assert open_ports <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
