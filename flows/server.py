"""Prefect's API for a flow that a user started by hand: the server they named, or a temporary one.

Prefect would start its temporary server by itself, but only when first asked, in whatever thread, in the
terminal's process group, on a port that another run may take meanwhile, and it would outlive a killed run.
"""

import atexit
import os
import socket
import subprocess
import threading
import time
from pathlib import Path

import httpx
import prefect
from prefect.client.orchestration import get_client
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_SERVER_ALLOW_EPHEMERAL_MODE,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    get_current_settings,
)

from flows import leash
from phreg.errors import ConfigError, PhregError
from phreg.progress import tell

POLL_S = 0.1
ANSWER_S = 5.0  # for a health check; a machine under load may take as long
_TEMPORARY = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}


def ensure_server() -> None:
    """See to a Prefect API, once a process. Raises `ConfigError` if the one named does not answer, and
    `PhregError` if a temporary one does not start in time."""
    if named_server():
        return
    if PREFECT_SERVER_ALLOW_EPHEMERAL_MODE.value():
        TemporaryServer().start()
    else:
        raise ConfigError(
            "No Prefect API is named, and a temporary one is not allowed",
            expected="PREFECT_API_URL, or PREFECT_SERVER_ALLOW_EPHEMERAL_MODE=true",
            remedy="see `prefect config view` for the profile in use",
        )


def named_server() -> str | None:
    """The URL of the API that is named, if one is. Raises `ConfigError` unless it answers."""
    url = PREFECT_API_URL.value()
    if url:
        tell("asking Prefect's server")
        _check_named(url)
    return url


def _check_named(url: str) -> None:
    try:
        with get_client(sync_client=True, httpx_settings={"timeout": 4 * ANSWER_S}) as client:
            error = client.api_healthcheck()
    except (ImportError, ValueError, httpx.InvalidURL) as unusable:
        raise ConfigError(
            "No connection to Prefect's API can be made as the environment says",
            expected="proxies at http://, https:// or socks5:// (the last with the package socksio)",
            found=f"{type(unusable).__name__}: {unusable}",
            remedy="correct HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY or PREFECT_API_URL",
        ) from None
    if error is not None:
        raise ConfigError(
            f"Prefect's API at {url} does not answer",
            expected="a running Prefect server",
            found=f"{type(error).__name__}: {error}",
            remedy="start it, or leave PREFECT_API_URL unset for a temporary one (`prefect config view`)",
        )


class TemporaryServer(SubprocessASGIServer):
    """The one that all of Prefect finds, as it is asked for once before it is needed.

    This process holds the socket on which it listens, and passes it on: no other run can get the port, and if
    the server is killed, requests wait for the next.
    """

    _listener: socket.socket | None = None

    def start(self, timeout: int | None = None) -> None:
        if self.running:
            return
        tell("starting Prefect's temporary server")
        limit = timeout or PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value()
        deadline, attempts = time.monotonic() + limit, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.running = self._listener.getsockname()[1], True
        atexit.register(self.stop)
        try:
            while not self._answers():
                if time.monotonic() > deadline:
                    raise _slow(limit, attempts)
                if self.server_process is None or self.server_process.poll() is not None:
                    # It may end by itself: two that start at once set up their common database at once.
                    attempts += 1
                    self.server_process = self._launch(self._listener)
                time.sleep(POLL_S)
        except BaseException:
            self.stop()
            raise
        threading.Thread(target=self._keep, args=(self._listener,), daemon=True).start()

    def stop(self) -> None:
        self._listener = None
        super().stop()

    def _keep(self, listener: socket.socket) -> None:
        """Start it again whenever it is gone: a run needs it to report its end."""
        while True:
            if self.server_process is not None:
                self.server_process.wait()
            if self._listener is None:
                return
            time.sleep(POLL_S)
            self.server_process = self._launch(listener)

    def _launch(self, listener: socket.socket) -> subprocess.Popen[bytes]:
        arguments = ["uvicorn", "--app-dir", str(Path(prefect.__file__).parent), "--factory"]
        arguments += ["prefect.server.api.server:create_app", "--fd", str(listener.fileno())]
        arguments += ["--log-level", "error", "--lifespan", "on"]
        settings = get_current_settings().to_environment_variables(exclude_unset=True)
        return leash.start(arguments, os.environ | _TEMPORARY | settings, pass_fds=(listener.fileno(),))

    def _answers(self) -> bool:
        if self.server_process is None:
            return False
        try:
            return httpx.get(f"{self.api_url}/health", timeout=ANSWER_S, trust_env=False).is_success
        except httpx.HTTPError:
            return False


def _slow(seconds: float, attempts: int) -> PhregError:
    return PhregError(
        f"Prefect's temporary server did not start within {seconds:g} s",
        found=f"{attempts} attempts" if attempts > 1 else "",
        remedy="allow more with PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS, or name a running server "
        "in PREFECT_API_URL; then run the same command again",
    )
