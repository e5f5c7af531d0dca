"""One function as one Ray task, where the resources are."""

from collections.abc import Callable
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from phreg.errors import PhregError
from phreg.execution.capacity import CapacityCheck
from phreg.execution.cluster import connect
from phreg.execution.pool import original
from phreg.execution.progress_actor import ProgressChannel, ProgressSender, channel_if_heard
from phreg.execution.visibility import NOTHING, Claim, RunPaths, claimed, naming_the_node
from phreg.execution.watch import ClusterWatch
from phreg.progress import heard_by, pass_on, tell, work_name
from phreg.stopping import check_stop

Result = TypeVar("Result")
POLL_S = 1.0  # between looks at the cluster's head; the result is taken at once
ATTEMPTS = 3  # if worker or node die; an exception of the function's own is not retried


def run_remote(
    function: Callable[..., Result],
    *args: Any,
    num_cpus: float = 1,
    num_gpus: float = 0,
    start_timeout_s: float = 300,
    paths: RunPaths = NOTHING,
    address: str | None = None,
) -> Result:
    """`function(*args)` on a node that has room for it. Raises what the function raised.

    `address` as for `connect`. Torch gets as many threads as the task has CPUs. Results travel through Ray's
    object store: keep them small; what the function tells of its progress is heard here. The node must see
    the local `paths`. Whatever interrupts the caller cancels the task. Raises `ConfigError` if no node is
    large enough (a cluster that may grow is given `start_timeout_s`), `ClusterError` if the cluster is lost,
    and `PhregError` if workers keep dying or a GPU has too little memory.
    """
    with connect(address):
        return _run_connected(function, args, num_cpus, num_gpus, start_timeout_s, paths)


def _run_connected(
    function: Callable[..., Result],
    args: tuple[Any, ...],
    num_cpus: float,
    num_gpus: float,
    start_timeout_s: float,
    paths: RunPaths,
) -> Result:
    watch = ClusterWatch()
    watch.wait()
    capacity = CapacityCheck(
        {"CPU": num_cpus, "GPU": num_gpus},
        1,
        function.__name__.strip("_"),
        "generation.cpus_per_actor, gpus_per_actor",
        start_timeout_s,
    )
    # Ray's own retries would have no end where workers run out of memory.
    task: Any = ray.remote(_call).options(
        num_cpus=num_cpus, num_gpus=num_gpus, max_retries=0, name=work_name(function.__name__.strip("_"))
    )
    tell("waiting for a worker")
    with channel_if_heard() as channel, claimed(paths, [{"CPU": num_cpus, "GPU": num_gpus}]) as claim:
        for attempt in range(1, ATTEMPTS + 1):
            reference = task.remote(function, args, max(1, int(num_cpus)), channel and channel.sender, claim)
            try:
                result: Result = _awaited(reference, watch, capacity, channel)
                return result
            except RayTaskError as error:
                raise original(error) from error
            except RayError as error:
                if attempt == ATTEMPTS:
                    raise _died(function, error) from error
            except BaseException:  # Ctrl-C, but also Prefect's own ways of ending a task
                ray.cancel(reference, force=True)
                raise
    raise AssertionError("unreachable")


def _awaited(
    reference: Any, watch: ClusterWatch, capacity: CapacityCheck, channel: ProgressChannel | None
) -> Any:
    while True:
        check_stop()
        if watch.check():
            capacity.check()
        if channel is not None and (news := channel.latest()) is not None:
            pass_on(news)
        if ray.wait([reference], timeout=POLL_S)[0]:
            return ray.get(reference)


def _call(
    function: Callable[..., Result],
    args: tuple[Any, ...],
    threads: int,
    sender: ProgressSender | None,
    claim: Claim | None,
) -> Result:
    import torch

    if claim is not None:
        claim.check_here()
    torch.set_num_threads(threads)  # Ray leaves one
    try:
        with heard_by(sender), naming_the_node():
            return function(*args)
    except torch.OutOfMemoryError as error:
        raise PhregError(
            f"The GPU has too little memory for {function.__name__.strip('_')}",
            found=str(error).splitlines()[0][:300],
            remedy="see what else runs on this GPU, or give it a whole one (generation.gpus_per_actor)",
        ) from None


def _died(function: Callable[..., Any], error: RayError) -> PhregError:
    return PhregError(
        f"Each of {ATTEMPTS} workers that ran {function.__name__} died",
        found=" ".join(str(error).split())[:500],
        remedy="it may need more memory than a worker has; see Ray's log files, then run the command again",
    )
