"""The flow that makes a table: for each seed targets and students, then every method on every column."""

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows import tasks
from flows.artifacts import artifact_key
from flows.cancelling import ends_when_cancelled
from flows.run import at_work, distil_all, make_all_targets, on_device
from flows.run_names import table_name, tag_run
from phreg.config.run import RunConfig
from phreg.config.secrets import Plain
from phreg.config.table import TableConfig, load_table
from phreg.errors import GenerationError, PhregError, hide_credentials
from phreg.pipeline.columns import Scores
from phreg.pipeline.methods import Method, student_method, teacher_method
from phreg.pipeline.prepare import Prepared
from phreg.pipeline.table import Table, check_columns, check_rows, markdown, records, write_table
from phreg.storage import Folder


@flow(name="phreg-table", flow_run_name=table_name, validate_parameters=True)
@ends_when_cancelled
def table(config: Plain, overrides: list[Plain] | None = None) -> Table:
    """A table as its config describes it. What is cached, trained or measured already is used again."""
    settings = load_table(config, overrides or [])
    tag_run(settings.name, settings.run.name)
    settings = settings.model_copy(update={"run": on_device(settings.run)})
    check_rows(settings)
    prepared = {seed: tasks.prepare_run(settings.seeded(seed)) for seed in settings.seeds}
    first = prepared[settings.seeds[0]]
    check_columns(settings, first)
    with at_work(settings.run, first):
        scores, failures = _all_scores(settings, prepared)
    found = Table(settings.name, settings.title, settings.seeds, scores, first.absent, failures)
    for url in write_table(found, Folder(settings.run.output)):
        get_run_logger().info("written: %s", hide_credentials(url))
    key = artifact_key(f"table-{settings.name}")
    create_markdown_artifact(key=key, markdown=markdown(found))
    create_table_artifact(key=f"{key}-cells", table=records(found))
    return found


def _all_scores(
    settings: TableConfig, prepared: dict[int, Prepared]
) -> tuple[dict[str, list[Scores]], dict[str, str]]:
    """A seed after the other; a row or cell that fails keeps no other from being measured."""
    names = [row.name for row in settings.teacher_rows] + [row.name for row in settings.run.students]
    scores: dict[str, list[Scores]] = {name: [] for name in names}
    failures: dict[str, str] = {}
    for seed, places in prepared.items():
        run = settings.seeded(seed)
        methods = [teacher_method(row, seed) for row in settings.teacher_rows]
        methods += _students(run, places, seed, failures)
        for name in names:
            scores[name].append({})  # a place for each seed, whatever fails
        for method in methods:
            try:
                measured = tasks.measure(run, places, method, settings.label_free)
            except PhregError as error:
                failures[f"{method.name} (seed {seed})"] = str(error)
                continue
            scores[method.name][-1] = measured.scores
            for name, reason in measured.failures.items():
                failures[f"{method.name} on {name} (seed {seed})"] = reason
    return scores, failures


def _students(run: RunConfig, places: Prepared, seed: int, failures: dict[str, str]) -> list[Method]:
    if not run.students:
        return []
    try:
        make_all_targets(run, places)
    except GenerationError as error:  # students of the kinds that were made go on
        failures[f"targets (seed {seed})"] = str(error)
    finished, failed = distil_all(run, places)
    failures |= {f"{name} (seed {seed})": reason for name, reason in failed.items()}
    return [student_method(report, seed) for _, report in finished]
