"""What runs on this machine is never asked through a proxy.

Prefect's temporary server, a local Ray and a store on loopback are there for this machine only; a proxy,
itself elsewhere, would look for them on its own.
"""

import ipaddress
import os
from urllib.parse import urlsplit

HOSTS = ("127.0.0.1", "localhost", "::1")
_EXCEPTIONS = ("no_proxy", "NO_PROXY", "no_grpc_proxy")  # gRPC reads its own before the common one


def keep_off_proxies() -> None:
    """Extend the environment's exceptions from its proxies by loopback, for this process and its children.

    Clients read `NO_PROXY` or `no_proxy`, most of them the latter first. Nothing changes where no proxy is
    named: on macOS a variable would hide the system's own settings.
    """
    if not any(_names_proxy(name) for name, value in os.environ.items() if value):
        return
    common = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    given = {name: os.environ.get(name, common) for name in _EXCEPTIONS}
    if "no_grpc_proxy" not in os.environ:
        del given["no_grpc_proxy"]
    for name, value in given.items():
        there = [host.strip() for host in value.split(",") if host.strip()]
        if there != ["*"]:
            os.environ[name] = ",".join([*there, *(host for host in HOSTS if host not in there)])


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine by its loopback address."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:  # no URL; who uses it says so
        return False
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _names_proxy(variable: str) -> bool:
    name = variable.lower()
    return name.endswith("_proxy") and name not in _EXCEPTIONS
