"""Asks a cluster what it has, from a process that can be given up on: Ray may wait for minutes, or end it.

Arguments: the address as given, and its HOST:PORT. It sends the token that `ray.init` would. Prints the GPUs.
"""

import dataclasses
import json
import sys

from ray._private.authentication import authentication_token_setup as authentication
from ray._private.state import GlobalState
from ray._raylet import GcsClient, GcsClientOptions  # type: ignore[attr-defined]  # compiled
from ray.exceptions import AuthenticationError

from phreg.device import Gpus

REFUSED = 77  # exit code


def main(address: str, place: str) -> int:
    try:
        if address == "auto":
            authentication.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
        authentication.ensure_token_if_auth_enabled(create_token_if_missing=False)
        GcsClient(address=place).cluster_id  # noqa: B018 (asking is all)
    except AuthenticationError:
        return REFUSED
    cluster = GlobalState()
    options = GcsClientOptions.create(place, None, allow_cluster_id_nil=True, fetch_cluster_id_if_nil=False)
    cluster._initialize_global_state(options)
    print(json.dumps(dataclasses.asdict(gpus_in(cluster))))
    return 0


def gpus_in(cluster: GlobalState, grows: bool = True) -> Gpus:
    """Of nodes that are there, else of those that its autoscaler may add, as far as Ray knows of them."""
    nodes = [node["Resources"].get("GPU", 0) for node in cluster.node_table() if node["Alive"]]
    count, having = sum(nodes), sum(map(bool, nodes))
    if count:
        counted = f"{count:g} GPU{'' if count == 1 else 's'}"
        return Gpus(
            count, f"the Ray cluster has {counted}, on {having} of {len(nodes)} nodes", may_come=grows
        )
    most = cluster.get_max_resources_from_cluster_config() if grows else None
    if most is None:
        return Gpus(0, "the Ray cluster has no GPU now", may_come=grows)
    if most.get("GPU"):
        return Gpus(most["GPU"], "the Ray cluster adds GPUs when they are asked for", may_come=True)
    return Gpus(0, "the Ray cluster has no GPU, and adds none")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
