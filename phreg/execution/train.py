"""Distillation on a Ray cluster: Ray Train starts the workers, notices when one dies, and starts anew.

What the workers do is `phreg.distill.trainer`; their checkpoints, curve and result go to the output
folder, none of it through Ray.
"""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import ray
import torch
from ray.exceptions import RayError
from ray.train import TrainingFailedError, get_context
from ray.train.torch import get_device
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.constants import (
    WORKER_GROUP_START_TIMEOUT_S_ENV_VAR,
    get_env_vars_to_propagate,
)
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2.api.callback import RayTrainCallback, UserCallback
from ray.train.v2.api.config import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.v2.torch.torch_trainer import TorchTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from phreg.config.run import TrainingConfig
from phreg.distill.job import StudentJob
from phreg.distill.progress import OnProgress, StudentProgress
from phreg.distill.result import StudentReport, finished_report
from phreg.distill.trainer import Outcome, train_students
from phreg.distill.workers import Workers
from phreg.errors import ClusterError, PhregError
from phreg.execution.capacity import CapacityCheck, Room
from phreg.execution.cluster import connect
from phreg.execution.failures import explained, named
from phreg.execution.metrics import record_training, record_wait
from phreg.execution.placement import free_place, keep_place
from phreg.execution.progress_actor import ProgressChannel, ProgressSender
from phreg.execution.visibility import Claim, RunPaths, claimed, naming_the_node
from phreg.execution.watch import ClusterWatch
from phreg.execution.worker_groups import alone, together
from phreg.progress import Progress, heard_by, pass_on, tell, work_name
from phreg.stopping import check_stop
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
    that the worker raised. Raises `ConfigError` if the cluster has no room for the workers (one that may
    grow is given `training.start_timeout_s`), `ClusterError` if it is lost, `TrainingError` for what is left.
    """
    (outcome,) = distil_together([job], output_url, address=address, on_progress=on_progress)
    if isinstance(outcome, PhregError):
        raise outcome
    return outcome


def distil_together(
    jobs: Sequence[StudentJob],
    output_url: str,
    *,
    address: str | None = None,
    on_progress: OnProgress | None = None,
) -> list[Outcome]:
    """The same for students that share their batches (`train_students`): by the same workers.

    What is wrong with one student alone is given in its place; what stops all of them is raised.
    """
    output = Folder(output_url)
    outcomes: list[Outcome | None] = [finished_report(job, output) for job in jobs]
    left = [job for job, outcome in zip(jobs, outcomes, strict=True) if outcome is None]
    trained = iter(_distil_on_ray(left, output, address, on_progress) if left else [])
    return [outcome if outcome is not None else next(trained) for outcome in outcomes]


def _distil_on_ray(
    jobs: Sequence[StudentJob], output: Folder, address: str | None, on_progress: OnProgress | None
) -> list[Outcome]:
    training = jobs[0].training
    os.environ[WORKER_GROUP_START_TIMEOUT_S_ENV_VAR] = str(training.start_timeout_s)
    for name, value in _RAY_TRAIN_SETTINGS.items():
        os.environ.setdefault(name, value)
    with connect(address):
        _capacity(jobs).check()  # what a Ray of our own lacks will not come
        jobs = [job.with_absolute_paths() for job in jobs]
        with claimed(_paths(jobs, output), [worker_resources(training)]) as claim:
            return _fit(jobs, output, on_progress, claim)


def _fit(
    jobs: Sequence[StudentJob], output: Folder, on_progress: OnProgress | None, claim: Claim | None
) -> list[Outcome]:
    channel = ProgressChannel()
    workers = jobs[0].training.workers
    tell(f"starting {workers} training workers" if workers > 1 else "starting a training worker")
    try:
        with tempfile.TemporaryDirectory(prefix="phreg-ray-train-", ignore_cleanup_errors=True) as scratch:
            trainer = _trainer(jobs, output, channel, scratch, claim)
            follower = _Follower(channel, _capacity(jobs), on_progress or _tell)
            trainer.while_waiting = follower.follow
            outcomes: list[Outcome] = trainer.fit().return_value  # type: ignore[attr-defined]  # v2's has one
            follower.show(channel.last())
            return outcomes
    except ClusterError:
        raise  # nobody is left to give anything back to
    except BaseException as error:
        free_place(channel)
        if isinstance(error, RayError | TrainingFailedError):
            raise explained(jobs, error) from error
        raise
    finally:
        channel.close()


def _tell(progress: StudentProgress) -> None:
    record_training(progress)
    pass_on(progress.as_progress())


class _Follower:
    """Looks at the cluster, and tells what is new of the training."""

    def __init__(self, channel: ProgressChannel, capacity: CapacityCheck, on_progress: OnProgress) -> None:
        self._channel, self._capacity, self._on_progress = channel, capacity, on_progress
        self._watch, self._step = ClusterWatch(), 0
        self._start = time.monotonic()

    def follow(self) -> None:
        check_stop()
        if not self._step:
            record_wait(time.monotonic() - self._start)
        if self._watch.check():
            self._capacity.check()
            self.show(self._channel.latest())

    def show(self, news: Progress | StudentProgress | None) -> None:
        if isinstance(news, Progress):
            pass_on(news)
        elif news is not None and news.step != self._step:
            self._step = news.step
            self._on_progress(news)


def _trainer(
    jobs: Sequence[StudentJob], output: Folder, channel: ProgressChannel, scratch: str, claim: Claim | None
) -> "_Trainer":
    sender = channel.sender

    def work() -> Any:  # a closure travels past the controller unopened, `train_loop_config` not
        return _work(jobs, output, sender, claim)

    training = jobs[0].training
    # NCCL wants a device for each rank; two workers on one GPU talk over gloo.
    backend = "nccl" if training.gpus >= 1 else "gloo"
    return _Trainer(
        work,
        torch_config=alone() if training.workers == 1 else together(backend),
        scaling_config=ScalingConfig(
            num_workers=training.workers,
            use_gpu=training.gpus > 0,
            resources_per_worker=worker_resources(training),
        ),
        run_config=RunConfig(
            name=work_name("student")[:200],  # a folder, too
            storage_path=scratch,
            failure_config=FailureConfig(
                max_failures=training.max_failures, controller_failure_limit=training.max_failures
            ),
            callbacks=[_stop_at_mistakes(), keep_place(channel)],  # type: ignore[list-item]  # takes both
            logging_config=LoggingConfig(log_level="CRITICAL"),  # all is in Ray's own log files
        ),
    )


class _Trainer(TorchTrainer):
    """Ray Train's, but for three things.

    It waits for its controller in steps, with `while_waiting` between them: in the main thread, where Ctrl-C
    arrives as everywhere else, and with no thread that could still call Ray when the connection is shut.
    An error out of the waiting, such as Ctrl-C, ends the controller, and Ray its workers with it.

    And it has no actor that asks the dashboard every second whether the controller lives: a local cluster
    has no dashboard. That actor would free a dead controller's placement group; see `free_place`.

    Nor one that hands out parts of Ray datasets, of which we have none: its process took two seconds of CPU.
    """

    while_waiting: Callable[[], None]

    def _initialize_and_run_controller(self, **parts: Any) -> Any:
        node = ray.get_runtime_context().get_node_id()
        here: Any = NodeAffinitySchedulingStrategy(node, soft=False)  # Ray's overloads of `remote` lack it
        environment = {"env_vars": get_env_vars_to_propagate()}
        name = self.run_config.name

        class NamedTrainController(TrainController):  # here, so that it travels by value, as Ray's own
            def __repr__(self) -> str:
                return str(name)

        actor = ray.remote(num_cpus=0, scheduling_strategy=here, runtime_env=environment)(
            NamedTrainController
        )
        controller: Any = actor.remote(**parts)
        try:
            finished = controller.run.remote()
            while not ray.wait([finished], timeout=POLL_S)[0]:
                self.while_waiting()
            ray.get(finished)
            return ray.get(controller.get_result.remote())
        except BaseException:
            ray.kill(controller)
            raise

    def _create_default_callbacks(self) -> list[RayTrainCallback]:
        unused = PlacementGroupCleanerCallback, DatasetsCallback
        return [each for each in super()._create_default_callbacks() if not isinstance(each, unused)]


def _work(
    jobs: Sequence[StudentJob], output: Folder, sender: ProgressSender, claim: Claim | None
) -> list[Outcome]:
    """In a worker."""
    if claim is not None:
        claim.check_here()
    torch.set_num_threads(max(1, int(jobs[0].training.cpus_per_worker)))  # Ray leaves one
    context = get_context()
    workers = Workers(context.get_world_rank(), context.get_world_size(), get_device())
    with heard_by(sender if workers.leads else None), naming_the_node():
        return train_students(jobs, output, workers, sender)


def _stop_at_mistakes() -> UserCallback:
    """Ray Train would repeat any failure; a missing target or a NaN comes again each time.

    The class is made here so that it travels by value: the controller then starts without phreg and all
    that it imports, some seconds sooner.
    """

    class StopAtMistakes(UserCallback):
        def after_exception(self, run_context: object, worker_exceptions: dict[int, Exception]) -> None:
            from phreg.errors import is_permanent_error

            for error in worker_exceptions.values():
                if is_permanent_error(error):
                    raise error

    return StopAtMistakes()


def _paths(jobs: Sequence[StudentJob], output: Folder) -> RunPaths:
    job = jobs[0]  # the others read the same, but for networks of their own
    shards = [shard.url for shard in (*job.train, *job.validation)]
    networks = [file for each in jobs for file in each.student.files]
    return RunPaths.of([output.url, job.cache_url], [*shards, *job.teacher.files, *networks])


def worker_resources(training: TrainingConfig) -> dict[str, float]:
    gpus = {"GPU": training.gpus} if training.gpus else {}
    return {"CPU": training.cpus_per_worker} | gpus


def student_places(training: TrainingConfig) -> Callable[[], int]:
    """How many students there is room for at once, now; connected to Ray."""
    room = Room(worker_resources(training), training.workers)
    most = training.parallel_students
    return room.places if most == "auto" else lambda: min(room.places(), most)


def _capacity(jobs: Sequence[StudentJob]) -> CapacityCheck:
    training = jobs[0].training
    options = "training.workers, cpus_per_worker, gpus_per_worker"
    what = f"the workers of the {named(jobs)}"
    return CapacityCheck(
        worker_resources(training), training.workers, what, options, training.start_timeout_s
    )
