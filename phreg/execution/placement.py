"""The place that Ray Train's workers hold in the cluster: noted, so that the driver can give it back."""

from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError
from ray.train.v2._internal.execution.callback import WorkerGroupCallback

from phreg.execution.progress_actor import ProgressChannel

_NAME = "place"


def keep_place(channel: ProgressChannel) -> WorkerGroupCallback:
    """For Ray Train: has its controller note where it put its workers."""
    put, name = channel.actor.put, f"{channel.source}/{_NAME}"

    class KeepPlace(WorkerGroupCallback):
        def after_worker_group_start(self, worker_group: Any) -> None:
            place = worker_group.get_worker_group_state().placement_group_handle.placement_group
            with suppress(RayError):  # a note that is lost is no reason not to train
                ray.get(put.remote(name, place))

    return KeepPlace()


def free_place(channel: ProgressChannel) -> None:
    """Give the workers' place back: a killed controller cannot, and Ray waits for the driver's end."""
    place = channel.noted(_NAME)
    if place is not None:
        ray.util.remove_placement_group(place)
