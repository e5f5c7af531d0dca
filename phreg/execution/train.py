"""Distillation on a Ray cluster: Ray Train starts the workers, notices when one dies, and starts anew.

What the workers do is `phreg.distill.trainer`; their checkpoints, curve and result go to the output
folder, none of it through Ray.
"""

import os
import tempfile
import threading
from typing import Any

import torch
from ray import cluster_resources
from ray._private.state import state  # as Ray Train itself does
from ray.train import get_context
from ray.train.backend import Backend
from ray.train.torch import TorchConfig, get_device
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2.api.callback import RayTrainCallback, UserCallback
from ray.train.v2.api.config import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.v2.torch.torch_trainer import TorchTrainer

from phreg.distill.job import StudentJob
from phreg.distill.progress import OnProgress
from phreg.distill.result import StudentReport, finished_report
from phreg.distill.trainer import train_student
from phreg.distill.workers import Workers
from phreg.errors import ConfigError
from phreg.execution.cluster import connect
from phreg.execution.failures import explained
from phreg.execution.mailbox import Mailbox
from phreg.storage import Folder

POLL_S = 0.25  # the controller's own 2 s would be a third of a short job

# Read by Ray Train when a run starts, in the driver.
_RAY_TRAIN_SETTINGS = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": str(POLL_S),
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative URLs mean the same in a worker as in the driver
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # warns workers of what our checkpoints survive anyway
}


def distil(
    job: StudentJob, output_url: str, *, address: str | None = None, on_progress: OnProgress | None = None
) -> StudentReport:
    """Distil a student on a cluster, and wait for it. A finished one is reused without starting Ray.

    `address` as for `connect`. `on_progress` is called in the calling thread. Worker failures (a dead
    process or node, storage that does not answer) are survived `training.max_failures` times, each going
    on from the last checkpoint; a mistake in the job or its data stops it at once, as the `PhregError`
    that the worker raised. Raises `TrainingError` for what is left.
    """
    output = Folder(output_url)
    report = finished_report(job, output)
    if report is not None:
        return report
    for name, value in _RAY_TRAIN_SETTINGS.items():
        os.environ.setdefault(name, value)
    with connect(address):
        _check_resources(job)
        return _fit(job.with_absolute_paths(), output, on_progress)


def _fit(job: StudentJob, output: Folder, on_progress: OnProgress | None) -> StudentReport:
    """Run Ray Train in a thread: `fit` blocks, and from the main thread it would take over Ctrl-C."""
    mailbox, outcome = Mailbox.open(), _Outcome()
    with tempfile.TemporaryDirectory(prefix="phreg-ray-train-", ignore_cleanup_errors=True) as scratch:
        trainer = _trainer(job, output, mailbox, scratch)
        thread = threading.Thread(target=outcome.run, args=(trainer,), daemon=True)
        thread.start()
        try:
            _follow(thread, mailbox, on_progress)
        finally:
            mailbox.close()
    return outcome.report(job)


def _follow(thread: threading.Thread, mailbox: Mailbox, on_progress: OnProgress | None) -> None:
    shown = None
    while thread.is_alive():
        thread.join(POLL_S)
        latest = mailbox.latest()
        if on_progress is not None and latest is not None and latest != shown:
            on_progress(latest)
            shown = latest


def _trainer(job: StudentJob, output: Folder, mailbox: Mailbox, scratch: str) -> TorchTrainer:
    def work() -> Any:  # a closure travels past the controller unopened, `train_loop_config` not
        return _work(job, output, mailbox)

    training = job.training
    # NCCL wants a device for each rank; two workers on one GPU talk over gloo.
    backend = "nccl" if training.gpus_per_worker >= 1 else "gloo"
    return _Trainer(
        work,
        torch_config=_alone() if training.workers == 1 else TorchConfig(backend=backend),
        scaling_config=ScalingConfig(
            num_workers=training.workers,
            use_gpu=training.gpus_per_worker > 0,
            resources_per_worker=_resources(job),
        ),
        run_config=RunConfig(
            name=f"phreg-{job.digest[:12]}",
            storage_path=scratch,
            failure_config=FailureConfig(
                max_failures=training.max_failures, controller_failure_limit=training.max_failures
            ),
            callbacks=[_stop_at_mistakes()],
            logging_config=LoggingConfig(log_level="CRITICAL"),  # all is in Ray's own log files
        ),
    )


class _Trainer(TorchTrainer):
    """Ray Train's, less an actor that asks the dashboard every second whether the controller lives.

    A local cluster has no dashboard, so it would complain every second. It is there to free a dead
    controller's placement group; without it that is done when the driver ends.
    """

    def _create_default_callbacks(self) -> list[RayTrainCallback]:
        callbacks = super()._create_default_callbacks()
        return [callback for callback in callbacks if not isinstance(callback, PlacementGroupCleanerCallback)]


def _work(job: StudentJob, output: Folder, mailbox: Mailbox) -> StudentReport:
    """In a worker."""
    torch.set_num_threads(max(1, int(job.training.cpus_per_worker)))  # Ray leaves one
    context = get_context()
    workers = Workers(context.get_world_rank(), context.get_world_size(), get_device())
    return train_student(job, output, workers, mailbox.send)


class _Outcome:
    """What `fit` gave or raised."""

    def __init__(self) -> None:
        self._result: Any = None  # v2's, whatever Ray's annotations say
        self._error: Exception | None = None

    def run(self, trainer: TorchTrainer) -> None:
        try:
            self._result = trainer.fit()
        except Exception as error:
            self._error = error

    def report(self, job: StudentJob) -> StudentReport:
        if self._result is not None:
            return self._result.return_value
        raise explained(job, self._error)


def _alone() -> TorchConfig:
    """For a single worker: no process group, whose store would listen on all of the machine's addresses.

    Made here, as the class below, so that it travels by value.
    """

    class Alone(TorchConfig):
        @property
        def backend_cls(self) -> type[Backend]:
            return Backend

    return Alone(backend="gloo")


def _stop_at_mistakes() -> UserCallback:
    """Ray Train would repeat any failure; a missing target or a NaN comes again each time.

    The class is made here so that it travels by value: the controller then starts without phreg and all
    that it imports, some seconds sooner.
    """

    class StopAtMistakes(UserCallback):
        def after_exception(self, run_context: object, worker_exceptions: dict[int, Exception]) -> None:
            from phreg.execution.failures import is_mistake

            for error in worker_exceptions.values():
                if is_mistake(error):
                    raise error

    return StopAtMistakes()


def _resources(job: StudentJob) -> dict[str, float]:
    training = job.training
    return {"CPU": training.cpus_per_worker} | (
        {"GPU": training.gpus_per_worker} if training.gpus_per_worker else {}
    )


def _check_resources(job: StudentJob) -> None:
    """Without this, workers that fit nowhere would be waited for, a minute at a time."""
    there = state.get_max_resources_from_cluster_config() or cluster_resources()  # the former: autoscaled
    for name, each in _resources(job).items():
        if each * job.training.workers > there.get(name, 0):
            raise ConfigError(
                f"The cluster cannot hold the workers of the student {job.student.name}",
                expected=f"{job.training.workers} x {each:g} {name}",
                found=f"{there.get(name, 0):g} {name}",
                remedy=f"lower training.workers or training.{name.lower()}s_per_worker, or add nodes",
            )
