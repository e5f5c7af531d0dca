"""The audit of pinned packages: real pip-audit against a service on loopback that knows one vulnerability."""

import http.server
import importlib.util
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
KNOWN = {
    "id": "GHSA-aaaa-bbbb-cccc",
    "modified": "2026-01-01T00:00:00Z",
    "aliases": ["CVE-2026-0001"],
    "summary": "bad",
    "affected": [
        {
            "package": {"name": "urllib3", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.9.9"}]}],
        }
    ],
}


class Service(http.server.BaseHTTPRequestHandler):
    """As api.osv.dev answers."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = [KNOWN] if asked["package"]["name"] == "urllib3" else []
        body = json.dumps({"vulns": found} if found else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / "infra" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def service() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()
        thread.join()


def arguments(tmp_path: Path, service: str, *pins: str) -> list[str]:
    (tmp_path / "pins.txt").write_text("\n".join(pins) + "\n")
    cache = ["--cache-dir", str(tmp_path / "cache")]
    return ["-r", str(tmp_path / "pins.txt"), "-s", "osv", "--osv-url", service, *cache]


def test_a_known_vulnerability_fails_until_it_is_ignored_with_a_reason(
    audit: ModuleType, service: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    given = arguments(tmp_path, service, "urllib3==2.0.0", "six==1.16.0")
    assert audit.main(given) == 1
    shown = capsys.readouterr().out
    assert "urllib3 2.0.0" in shown
    assert "mended in 2.9.9" in shown
    assert "2 packages, 1 known" in shown
    monkeypatch.setitem(audit.IGNORED, "CVE-2026-0001", "we ask nobody")
    assert audit.main(given) == 0
    assert "we ask nobody" in capsys.readouterr().out


def test_what_is_not_known_to_be_bad_passes(audit: ModuleType, service: str, tmp_path: Path) -> None:
    assert audit.main(arguments(tmp_path, service, "six==1.16.0")) == 0


def test_a_service_that_cannot_be_asked_is_said(
    audit: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.main(arguments(tmp_path, "http://127.0.0.1:9/v1/query", "six==1.16.0")) == 0
    assert "NOTHING WAS AUDITED" in capsys.readouterr().out
    assert audit.judge([{"name": "a", "skip_reason": "not found on PyPI"}]) == 0
    assert "NOTHING WAS AUDITED" in capsys.readouterr().out


def test_every_ignored_vulnerability_has_a_reason(audit: ModuleType) -> None:
    assert all(len(reason) > 10 for reason in audit.IGNORED.values())
