"""`phreg serve`: a registry as a small site, on loopback unless told otherwise."""

import argparse
import contextlib
import socket
from typing import Any

from phreg.cli.options import add_command, non_negative
from phreg.cli.registry import open_existing
from phreg.cli.tables import say
from phreg.errors import ConfigError
from phreg.extras import require
from phreg.loopback import is_loopback


def add(commands: Any) -> None:
    parser = add_command(
        commands, "serve", serve, "A registry as a small site: versions side by side, and report pages.",
        "phreg serve runs/demo/registry --port 8321",
    )  # fmt: skip
    parser.add_argument("registry", metavar="REGISTRY", help="URL of the registry")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="where to listen (%(default)s); elsewhere, whoever gets there reads it",
    )
    parser.add_argument("--port", type=non_negative, default=8321, help="0: any that is free (%(default)s)")


def serve(options: argparse.Namespace) -> int:
    require("phreg serve", "starlette", "uvicorn")
    import uvicorn

    from phreg.registry.site import site

    registry = open_existing(options)
    try:
        listener = socket.create_server((options.host, options.port), family=_family(options.host))
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"Cannot listen on {options.host}, port {options.port}",
            found=str(error),
            remedy="another --port (0 takes any that is free), or an address of this machine as --host",
        ) from None
    host = f"[{options.host}]" if ":" in options.host else options.host
    here = f"http://{host}:{listener.getsockname()[1]}/"
    hosts = [options.host, "localhost", "127.0.0.1", "[::1]"] if is_loopback(here) else ["*"]
    say(f"{here} shows the registry; Ctrl-C ends it")
    settings = uvicorn.Config(site(registry, hosts), log_level="warning", access_log=False, lifespan="off")
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(settings).run(sockets=[listener])
    return 0


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
