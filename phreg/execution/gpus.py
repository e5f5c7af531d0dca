"""How many GPUs there are where a run will work: asked before it begins, without joining a cluster."""

import os
import sys

from phreg.device import Gpus, gpus_here


def gpus_of(address: str | None = None) -> Gpus:
    """Of the cluster that `connect(address)` would join, or of this machine if it would start a Ray on it.

    Ray is imported where there is one to ask. Raises `ConfigError` if there is no such cluster.
    """
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        from ray._private.state import state

        from phreg.execution.capacity import may_grow
        from phreg.execution.probe import gpus_in

        return gpus_in(state, may_grow())
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if address == "local":
        return gpus_here()
    from phreg.execution.cluster import check_address

    return check_address(address)
