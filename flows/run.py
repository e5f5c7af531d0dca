"""The flows: the whole run, and its three parts that can be deployed alone.

Each takes the URL of a config, or its fields themselves, and overrides (`a.b=value`), and needs no other
state: what earlier stages made is found in cache and output folder. Prefect makes a form of the fields, by
which its server checks them before there is a run. Here they are checked as a whole.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from prefect import flow, get_run_logger

from flows import artifacts, run_names, tasks
from flows.cancelling import ends_when_cancelled
from flows.direct import ask_loopback_directly
from flows.run_names import tag_run
from flows.short_errors import shorten_errors
from flows.warnings import warn_in_runs
from flows.worker import cancellable, outlive_worker
from phreg.config.run import RunConfig, StudentConfig, read_run
from phreg.config.secrets import Plain
from phreg.distill.result import StudentReport
from phreg.errors import GenerationError, PhregError, TrainingError
from phreg.execution.connection import connected_when_needed
from phreg.generate import TargetsReport
from phreg.pipeline.device import on_its_device
from phreg.pipeline.methods import Labelled, Method, baselines, read_as_students, student_method
from phreg.pipeline.paths import check_nodes
from phreg.pipeline.prepare import Prepared
from phreg.pipeline.report import RunReport, StudentOutcome, reuse_lines, targets_table
from phreg.pipeline.student_groups import group_students

Overrides = list[Plain]
NONE: Any = None  # a form of one section, where `RunConfig | None` would be one of a choice

ask_loopback_directly()
shorten_errors()
warn_in_runs()


@flow(name="phreg-run", flow_run_name=run_names.run_name, validate_parameters=False)
@ends_when_cancelled
def run(config: Plain = "", overrides: Overrides | None = None, settings: RunConfig = NONE) -> RunReport:
    """Images to registered students."""
    settings, prepared = _prepare(config, overrides, settings, registers=True)
    with at_work(settings, prepared):
        made = make_all_targets(settings, prepared)
        finished, failures = distil_all(settings, prepared)
        report = _register(settings, prepared, made, finished, failures)
    for line in reuse_lines(report):
        get_run_logger().info(line)
    artifacts.publish(report)
    _raise_failures(report.failures)
    return report


@flow(name="phreg-targets", flow_run_name=run_names.targets_name, validate_parameters=False)
@ends_when_cancelled
def targets(
    config: Plain = "", overrides: Overrides | None = None, settings: RunConfig = NONE
) -> dict[str, TargetsReport]:
    """Only the targets: fills the cache that students are distilled from."""
    settings, prepared = _prepare(config, overrides, settings)
    with at_work(settings, prepared):
        return make_all_targets(settings, prepared)


@flow(name="phreg-distil", flow_run_name=run_names.distil_name, validate_parameters=False)
@ends_when_cancelled
def distil(
    config: Plain = "", overrides: Overrides | None = None, settings: RunConfig = NONE
) -> list[StudentReport]:
    """Only the students, from targets that are in the cache."""
    settings, prepared = _prepare(config, overrides, settings)
    with at_work(settings, prepared):
        finished, failures = distil_all(settings, prepared)
    _raise_failures(failures)
    return [report for _, report in finished]


@flow(name="phreg-evaluate", flow_run_name=run_names.evaluate_name, validate_parameters=False)
@ends_when_cancelled
def evaluate(config: Plain = "", overrides: Overrides | None = None, settings: RunConfig = NONE) -> RunReport:
    """Measure, register and judge students that are finished; one that is not is trained first."""
    settings, prepared = _prepare(config, overrides, settings, registers=True)
    with at_work(settings, prepared):
        finished, failures = distil_all(settings, prepared)
        report = _register(settings, prepared, {}, finished, failures)
    artifacts.publish(report)
    _raise_failures(failures)
    return report


def _prepare(
    url: str, overrides: Overrides | None, settings: Any, registers: bool = False
) -> tuple[RunConfig, Prepared]:
    config = read_run(url, overrides or [], settings)
    tag_run(config.name)
    config = on_device(config)
    return config, tasks.prepare_run(config, registers)


def on_device(config: RunConfig) -> RunConfig:
    """The config for the device that the run will use, which is logged."""
    config, choice = on_its_device(config)
    get_run_logger().info("device: %s", choice)
    return config


@contextmanager
def at_work(config: RunConfig, prepared: Prepared) -> Iterator[None]:
    """For as long as the work takes, whatever becomes of the worker, unless it cancels.

    Connected to Ray as soon as there is something to do. Raises `ConfigError` if there is no such cluster, or
    its nodes do not see the run's files."""
    outlive_worker()
    with cancellable(), connected_when_needed(partial(check_nodes, config, prepared)) as connection:
        try:
            yield
        except PhregError as error:
            error.under_way = error is not connection.error
            raise
        if connection.error is not None:  # it is in the failures of what would have needed it
            raise connection.error


@contextmanager
def under_way() -> Iterator[None]:
    """Errors inside come from work that was begun, not from a run that could not start."""
    try:
        yield
    except PhregError as error:
        error.under_way = True
        raise


def make_all_targets(config: RunConfig, prepared: Prepared) -> dict[str, TargetsReport]:
    """All kinds of targets; one that fails does not keep the others from being made."""
    made: dict[str, TargetsReport] = {}
    errors: list[GenerationError] = []
    for name in config.used_targets:
        try:
            made[name] = tasks.make_targets(config, prepared, name)
        except GenerationError as error:
            errors.append(error)
    artifacts.publish_targets(config.name, targets_table(made))
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise GenerationError("Several kinds of targets failed", found="".join(f"\n  {e}" for e in errors))
    return made


def distil_all(
    config: RunConfig, prepared: Prepared
) -> tuple[list[tuple[StudentConfig, StudentReport]], dict[str, str]]:
    """All students, side by side where there is room; one that fails is reported when the others are done."""
    planned = group_students(config, prepared)
    for group in planned.groups:
        if len(group.students) > 1:
            get_run_logger().info("trained from the same batches: %s", group.names)
    outcomes: dict[str, StudentReport | Exception] = {}
    found = planned.train(partial(tasks.distil, config, prepared))
    for group, made in zip(planned.groups, found, strict=True):
        each = [made] * len(group.students) if isinstance(made, Exception) else made
        outcomes |= {student.name: one for student, one in zip(group.students, each, strict=True)}
    finished, failures = [], {}
    for student in config.students:
        outcome = outcomes[student.name]
        if isinstance(outcome, PhregError):
            failures[student.name] = str(outcome)
        elif isinstance(outcome, Exception):
            raise outcome
        else:
            finished.append((student, outcome))
    return finished, failures


def _register(
    config: RunConfig,
    prepared: Prepared,
    made: dict[str, TargetsReport],
    finished: list[tuple[StudentConfig, StudentReport]],
    failures: dict[str, str],
) -> RunReport:
    teacher = tasks.evaluate_teacher(config, prepared)
    beside = _measured(config, prepared, baselines(config), Labelled(), failures)
    beside = _measured(config, prepared, read_as_students(config, prepared), beside, failures)
    outcomes = []
    for student, report in finished:
        # The gate may ask for scores on labelled sets; without them the student is registered all the same.
        labelled = _measured(config, prepared, [student_method(report, config.seed)], beside, failures)
        try:
            assessment = tasks.evaluate(config, prepared, report)
            registered = tasks.register_student(
                config, prepared, student, report, teacher, assessment, labelled
            )
        except PhregError as error:
            failures[student.name] = str(error)
            continue
        page = None
        try:
            page = tasks.report_page(config, prepared, registered, assessment, labelled)
        except PhregError as error:
            failures[student.name] = f"registered, but without its report page: {error}"
        outcomes.append(StudentOutcome(report, assessment, registered, page, labelled))
    return RunReport(config.name, made, teacher, tuple(outcomes), failures, beside)


def _measured(
    config: RunConfig,
    prepared: Prepared,
    wanted: Iterable[Method],
    beside: Labelled | None,
    failures: dict[str, str],
) -> Labelled | None:
    """The methods on the labelled sets, added to others; what cannot be measured is added to the failures.

    None if there are no such sets.
    """
    if beside is None or not prepared.columns:
        return None
    for method in wanted:
        try:
            measured = tasks.measure(config, prepared, method)
        except PhregError as error:
            failures[f"{method.name} on labelled sets"] = str(error)
            continue
        failures.update({f"{method.name} on {name}": reason for name, reason in measured.failures.items()})
        beside = beside.add(method, measured)
    return beside


def _raise_failures(failures: dict[str, str]) -> None:
    if failures:
        lines = "".join(f"\n    {name}: {reason}" for name, reason in failures.items())
        with under_way():
            raise TrainingError(
                f"{len(failures)} parts of the run could not be finished; the others are done",
                found=lines,
                remedy="mend what is named, then run the same command again",
            )
