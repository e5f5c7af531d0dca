"""How many GPUs there are where a run will work: asked before it begins, without joining a cluster."""

import os

import ray
from ray._private.state import state

from phreg.device import Gpus, gpus_here
from phreg.execution.capacity import may_grow
from phreg.execution.cluster import check_address
from phreg.execution.probe import gpus_in


def gpus_of(address: str | None = None) -> Gpus:
    """Of the cluster that `connect(address)` would join, or of this machine if it would start a Ray on it.

    Raises `ConfigError` if there is no such cluster.
    """
    if ray.is_initialized():
        return gpus_in(state, may_grow())
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    return gpus_here() if address == "local" else check_address(address)
