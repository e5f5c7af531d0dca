"""Proxies of the environment, and what runs on this machine: Prefect's API, a local Ray, a store."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

import flows.run  # noqa: F401  (as a flow's process does)
from flows.server import ensure_server
from phreg.errors import ConfigError
from phreg.storage import Folder
from tests.prefect_homes import prefect_home

DEAD = "http://127.0.0.1:9"
NAMES = [
    name for stem in ("http", "https", "all", "grpc") for name in (f"{stem}_proxy", f"{stem}_PROXY".upper())
]

WHOLE = """
import asyncio, os, sys
from flows.terminal import prepare_terminal
import flows.run
from prefect.client.orchestration import get_client
from prefect.events import emit_event
from prefect.events.clients import get_events_client
from phreg.execution.cluster import connect
from phreg.execution.remote import run_remote
from phreg.storage import Folder

async def asked():
    async with get_client() as client:
        await client.hello()
    async with get_events_client() as events:  # a websocket
        print(type(events).__name__)

prepare_terminal()
asyncio.run(asked())
place = Folder(sys.argv[1])
place.write("a", b"x")
with connect():
    print("Ray:", run_remote(os.environ.get, "NO_PROXY"), run_remote(place.read, "a"))
print("Prefect's server is here:", "prefect.server.api.server" in sys.modules)
"""


@pytest.fixture
def api() -> Iterator[str]:
    """Something on loopback that answers whatever is asked."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'"here"')

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()


def test_all_that_runs_here_is_asked_directly(tmp_path: Path, s3_folder: Folder) -> None:
    """The temporary server, its events, a local Ray and a store on loopback; the proxy is not there."""
    environment = os.environ | dict.fromkeys(NAMES, DEAD) | {"PREFECT_HOME": prefect_home(tmp_path)}
    environment |= {"NO_PROXY": "example.com", "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120"}
    environment.pop("PREFECT_API_URL", None)
    done = subprocess.run(
        [sys.executable, "-c", WHOLE, s3_folder.url], capture_output=True, text=True, env=environment,
        cwd=tmp_path, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "PrefectEventsClient" in done.stdout
    assert "Prefect's server is here: False" in done.stdout  # nor a second one: importing it takes seconds
    assert "Ray: example.com,127.0.0.1,localhost,::1 b'x'" in done.stdout


@pytest.mark.parametrize(
    "environment",
    [
        {"ALL_PROXY": "socks5://127.0.0.1:9"},
        {"all_proxy": "socks://127.0.0.1:9/"},
        {"http_proxy": DEAD, "NO_PROXY": "[::1]"},
        {"http_proxy": DEAD, "no_proxy": "fe80::/10"},
        {"http_proxy": "http://host:port"},
    ],
    ids=str,
)
def test_no_proxy_keeps_clients_from_loopback(
    environment: dict[str, str], api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that httpx can do nothing with, upon which it makes no client."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with temporary_settings({PREFECT_API_URL: api}):
        with get_client(sync_client=True) as client:
            assert client.hello().is_success
        assert asyncio.run(_hello())
        ensure_server()


async def _hello() -> bool:
    async with get_client() as client:
        return (await client.hello()).is_success


@pytest.mark.parametrize("proxy", ["socks4://127.0.0.1:9", "http://host:port"])
def test_a_proxy_that_cannot_be_used_for_a_server_elsewhere_is_told(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with (
        temporary_settings({PREFECT_API_URL: "http://prefect.example.com/api"}),
        pytest.raises(ConfigError, match="ALL_PROXY"),
    ):
        ensure_server()
