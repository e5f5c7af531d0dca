"""The tasks: one per stage (distillation: one per student). They pass URIs and small reports, no tensors."""

import functools
import socket
from collections.abc import Callable
from typing import Any, TypeVar, cast

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from flows.progress import reported, reporting
from phreg.config.run import RunConfig, StudentConfig
from phreg.distill.result import StudentReport
from phreg.errors import CacheError, DownloadError, PhregError, is_permanent_error
from phreg.evaluate import Evaluation
from phreg.generate import TargetsReport
from phreg.pipeline import assess, methods, page, prepare, register, students, targets
from phreg.pipeline.heal import on_sound_targets
from phreg.pipeline.prepare import Prepared
from phreg.pipeline.student_groups import StudentGroup

F = TypeVar("F", bound=Callable[..., Any])


def may_pass(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Retry what may pass by itself, such as storage that does not answer; not a mistake."""
    error = state.result(raise_on_failure=False)
    return not (isinstance(error, Exception) and is_permanent_error(error))


def may_pass_at_the_start(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """A hub that was there at the start may be away for a moment later; here a user waits for the answer."""
    return may_pass(task, run, state) and not isinstance(state.result(raise_on_failure=False), DownloadError)


# Prefect must not serve a stage from its own cache: what is done is known from the records in storage.
_stage = {"cache_policy": NO_CACHE, "persist_result": False}
_retried: dict[str, Any] = _stage | {"retries": 2, "retry_delay_seconds": 10, "retry_condition_fn": may_pass}


def _healing(stage: F) -> F:
    """A stage that makes targets anew where it finds them damaged, those shards alone, and says so."""

    @functools.wraps(stage)
    def healed(config: RunConfig, prepared: Prepared, *arguments: Any, **named: Any) -> Any:
        def tell(error: CacheError) -> None:
            get_run_logger().warning("targets are made anew: %s", error)

        def work() -> Any:
            return stage(config, prepared, *arguments, **named)

        return on_sound_targets(config, prepared, work, tell)

    return cast(F, healed)


@task(name="prepare", task_run_name="prepare", **_retried | {"retry_condition_fn": may_pass_at_the_start})
@reported
def prepare_run(config: RunConfig, registers: bool = False) -> Prepared:
    if registers:
        register.check_registry(config)
    prepared = prepare.prepare(config)
    for name in prepared.absent:
        get_run_logger().warning(
            "the labelled set %s is left out: its folder is not there, on %s", name, socket.gethostname()
        )
    return prepared


@task(name="targets", task_run_name="targets-{name}", **_retried)
def make_targets(config: RunConfig, prepared: Prepared, name: str) -> TargetsReport:
    logger = get_run_logger()
    with reporting(f"targets {name}", eager=True, artifact=f"{config.name}-targets-{name}-progress"):
        report = targets.make_targets(config, prepared, name)
    for shard in report.shards:
        if shard.damage:
            logger.warning("the targets of %s were made anew: %s", shard.shard, shard.damage)
    return report


@task(name="distil", task_run_name="distil-{group.name}", **_retried)
@_healing
def distil(config: RunConfig, prepared: Prepared, group: StudentGroup) -> list[StudentReport | PhregError]:
    word = "students" if len(group.students) > 1 else "student"
    with reporting(f"{word} {group.name}", True, artifact=f"{config.name}-{group.name}-progress"):
        return students.distil_students(config, prepared, group.students)


@task(name="evaluate-teacher", task_run_name="evaluate-teacher", **_retried)
@reported
@_healing
def evaluate_teacher(config: RunConfig, prepared: Prepared) -> Evaluation:
    return assess.assess_teacher(config, prepared)


@task(name="evaluate", task_run_name="evaluate-{report.name}", **_retried)
@reported
@_healing
def evaluate(config: RunConfig, prepared: Prepared, report: StudentReport) -> assess.Assessment:
    return assess.assess_student(config, prepared, report)


@task(name="register", task_run_name="register-{student.name}", **_retried)
@reported
@_healing
def register_student(
    config: RunConfig,
    prepared: Prepared,
    student: StudentConfig,
    report: StudentReport,
    teacher: Evaluation,
    assessment: assess.Assessment,
    labelled: methods.Labelled | None = None,
) -> register.Registered:
    return register.register_student(config, prepared, student, report, teacher, assessment, labelled)


@task(name="report-page", task_run_name="report-page-{registered.name}", **_retried)
@reported
@_healing
def report_page(
    config: RunConfig,
    prepared: Prepared,
    registered: register.Registered,
    assessment: assess.Assessment,
    labelled: methods.Labelled | None = None,
) -> page.PageReport:
    return page.make_page(config, prepared, registered, assessment, labelled)


@task(name="measure", task_run_name="measure-{method.name}-seed{method.seed}", **_retried)
@reported
@_healing
def measure(
    config: RunConfig, prepared: Prepared, method: methods.Method, label_free: bool = False
) -> methods.Measured:
    return methods.measure(config, prepared, method, label_free=label_free)
