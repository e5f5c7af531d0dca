"""torch's process group on one address alone; torch's own start listens on all addresses of the machine."""

import os
import socket
from datetime import timedelta

from torch import distributed

TIMEOUT = timedelta(minutes=30)  # of a collective: the slowest worker's longest step
_stores: list[distributed.TCPStore] = []  # the store lives as long as the first worker's process


def open_store(host: str, world: int) -> int:
    """In the first worker: the store by which all find each other, listening on `host`; its port."""
    listening = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    port: int = listening.getsockname()[1]
    _stores.append(
        distributed.TCPStore(
            host, port, world, is_master=True, timeout=TIMEOUT, wait_for_workers=False,
            master_listen_fd=listening.detach(),
        )
    )  # fmt: skip
    return port


def join(backend: str, host: str, port: int, rank: int, world: int) -> None:
    """In each worker: join the group whose store is at `host:port`. Waits for all the others."""
    if _is_loopback(host):  # all are on this machine; gloo and NCCL would choose an outer interface
        for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(variable, _loopback_interface())
    store = _stores.pop() if rank == 0 else distributed.TCPStore(host, port, world, timeout=TIMEOUT)
    distributed.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=TIMEOUT)


def _is_loopback(host: str) -> bool:
    return host.startswith("127.") or host == "::1"


def _loopback_interface() -> str:
    """`lo` on Linux, `lo0` on macOS."""
    return next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
