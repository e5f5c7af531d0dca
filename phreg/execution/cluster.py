"""The connection to Ray: a cluster's address, or a local Ray for the time of a run."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray._private import ray_constants
from ray._private.services import canonicalize_bootstrap_address
from ray.exceptions import AuthenticationError

from phreg.device import Gpus, gpus_here
from phreg.errors import ClusterError, ConfigError
from phreg.execution import connection, probe
from phreg.execution.authentication import refused, token_for
from phreg.execution.ray_folder import ray_folder
from phreg.progress import tell

TCP_TIMEOUT_S = 5.0
PROBE_TIMEOUT_S = 30.0
START_ATTEMPTS = 5  # of a local Ray's head to answer, up to 40 s each; by default Ray makes 20
OBJECT_STORE_BYTES = 256 * 2**20  # reports and configs pass through it, tensors never do

# Under `uv run` Ray would pack the working directory, whatever is in it, and have each worker install all
# anew. Our nodes have phreg already.
UV = "RAY_ENABLE_UV_RUN_RUNTIME_ENV"


@contextmanager
def connect(address: str | None = None) -> Iterator[None]:
    """Ray for a `with` block: the cluster at `address`, else at `RAY_ADDRESS`, else a local one.

    A process that is connected already stays so, before and after; `address` is then not looked at. What
    is started here ends with the block, inside `connected_when_needed` with that one. The cluster's nodes
    need phreg installed; environment variables (credentials) are passed on to a local Ray only. Raises
    `ConfigError` if there is no such cluster, and `ClusterError` if a local Ray does not start. A handler of
    SIGTERM that raises must raise `KeyboardInterrupt` inside: Ray's compiled code turns others into a
    SystemError, and only once what it waited for is done.
    """
    kept = connection.kept()
    if kept is None:
        with _connected(address):
            yield
    else:
        kept.open(lambda: _connected(address))
        yield


@contextmanager
def _connected(address: str | None) -> Iterator[None]:
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if UV not in os.environ:
        ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = False
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    with token_for(address):
        with _own_sigterm():
            if address == "local":
                tell("starting Ray on this machine")
                _start_local()
            else:
                tell(f"joining the Ray cluster at {address}")
                _join(address)
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep the process's own reaction to SIGTERM: Ray's prints a stack and exits."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal.signal(signal.SIGTERM, before)


def _start_local() -> None:
    """Ray takes a loopback address for the machine's outer one and listens everywhere, unless clusters are
    switched off, as they are by default on Windows and macOS. The switch is an environment variable, for
    the processes that Ray starts, and a constant that this process has read from it already."""
    folder = ray_folder()
    ray_constants.NUM_REDIS_GET_RETRIES = START_ATTEMPTS
    variable, before = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR, ray_constants.ENABLE_RAY_CLUSTER
    os.environ[variable], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        ray.init(
            address="local",
            num_gpus=int(gpus_here().count),  # those that torch can use; Ray would count others, too
            include_dashboard=False,
            log_to_driver=False,  # the driver's own loop reports; workers' output is in Ray's log files
            logging_level=logging.ERROR,
            object_store_memory=OBJECT_STORE_BYTES,
            _temp_dir=folder,
        )
    except Exception as error:  # Ray raises bare ones
        raise ClusterError(
            "The local Ray did not start",
            found=_without_traceback(str(error)),
            remedy="run the same command again, when the machine has less to do if it is a matter of time; "
            f"else see Ray's log files ({folder}/session_latest/logs)",
        ) from error
    finally:
        del os.environ[variable]
        ray_constants.ENABLE_RAY_CLUSTER = before


def _without_traceback(text: str) -> str:
    """What Ray says, and of a traceback that it quotes the last line."""
    said, _, quoted = text.partition("Traceback (most recent call last):")
    last = quoted.strip().splitlines()[-1:]
    return " ".join(" ".join([said, *last]).split())[:500]


def _join(address: str) -> None:
    check_address(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except AuthenticationError:
        raise refused(address) from None
    except (ConnectionError, RuntimeError, ValueError) as error:
        causes = [error, error.__cause__] if error.__cause__ else [error]
        raise _unreachable(address, "; ".join(str(cause).strip()[:300] for cause in causes)) from error


def check_address(address: str) -> Gpus:
    """The GPUs of the Ray cluster there. Raises `ConfigError` within seconds if none answers."""
    if "://" in address:
        raise ConfigError(
            f"{address} is a Ray Client address",
            expected="HOST:PORT of a cluster that this machine is a node of, `auto` or `local`",
            remedy="on a node of the cluster use `auto`; from elsewhere, `phreg submit CONFIG --address "
            "http://HOST:8265`",
        )
    place = _resolve(address)
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), TCP_TIMEOUT_S).close()
    except (OSError, ValueError, OverflowError) as error:
        raise _unreachable(address, f"{type(error).__name__}: {error}") from None
    try:
        asked = subprocess.run(  # noqa: S603 (our own interpreter and source)
            [sys.executable, "-m", probe.__name__, address, place],
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        found = f"something that did not answer as Ray does within {PROBE_TIMEOUT_S:g} s"
        raise _unreachable(address, found) from None
    if asked.returncode == probe.REFUSED:
        raise refused(address)
    if asked.returncode:
        lines = asked.stderr.strip().splitlines() or [f"exit code {asked.returncode}"]
        raise _unreachable(address, lines[-1][:300])
    return Gpus(**json.loads(asked.stdout.splitlines()[-1]))


def _resolve(address: str) -> str:
    """HOST:PORT of an address, `auto` being the cluster that runs on this machine."""
    try:
        place = canonicalize_bootstrap_address(address)
    except Exception as error:  # resolver and parser raise what they like
        raise _unreachable(address, str(error)) from None
    if place is None:
        raise _unreachable(address, "no Ray on this machine")
    return place


def _unreachable(address: str, found: str) -> ConfigError:
    return ConfigError(
        f"There is no Ray cluster at {address}",
        expected="HOST:PORT of a running cluster's head, or `auto` on one of its nodes",
        found=found,
        remedy="check ray_address and RAY_ADDRESS, or leave both out for a local Ray",
    )
