"""How Ray Train's workers find each other. Classes are made in functions, so that they travel by value."""

from typing import Any

import ray
from ray.train.backend import Backend, BackendConfig
from ray.train.torch import TorchConfig
from ray.train.torch.config import _TorchBackend


def alone() -> TorchConfig:
    """For a single worker: no process group."""

    class Alone(TorchConfig):
        @property
        def backend_cls(self) -> type[Backend]:
            return Backend

    return Alone(backend="gloo")


def together(backend: str) -> TorchConfig:
    """For several: a process group over `backend`, whose store listens on one address of one node."""

    class Meeting(_TorchBackend):
        def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:
            host, world = worker_group.execute_single(0, ray.util.get_node_ip_address), len(worker_group)
            port = worker_group.execute_single(0, _open_store, host, world)
            joined = [
                worker_group.execute_single_async(rank, _join, backend, host, port, rank, world)
                for rank in range(world)
            ]
            ray.get(joined)

    def _open_store(*args: Any) -> int:
        from phreg.distill.process_group import open_store

        return open_store(*args)

    def _join(*args: Any) -> None:
        from phreg.distill.process_group import join

        join(*args)

    class Together(TorchConfig):
        @property
        def backend_cls(self) -> type[Backend]:
            return Meeting

    return Together(backend=backend)
