"""What a run comes to: one table, the teacher beside every student, and how to load the best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from phreg.config.run import TEACHER, RunConfig
from phreg.distill.result import StudentReport
from phreg.errors import hide_credentials
from phreg.evaluate import Evaluation
from phreg.generate import TargetsReport
from phreg.models import load_student, timm_snippet
from phreg.pipeline.assess import FIGURES, Assessment
from phreg.pipeline.columns import MAIN, Scores, arrow, is_higher_better
from phreg.pipeline.methods import Labelled
from phreg.pipeline.page import PageReport
from phreg.pipeline.register import Registered
from phreg.progress_reporter import clock
from phreg.storage import Folder
from phreg.types import HIGHER_IS_BETTER

Row = dict[str, str]
_TITLES = {
    "artifact_rate": "artifacts",
    "norm_ratio": "norm ratio",
    "outlier_rate": "outliers",
    "shift_cosine_mean": "shift cos",
    "shift_cosine_p5": "shift p5",
    "target_cosine_p1": "target p1",
    "target_cosine_p5": "target p5",
    "target_cosine_p50": "target p50",
    "class_token_cosine": "class cos",
    "class_token_neighbours": "class nn",
}


@dataclass(frozen=True)
class StudentOutcome:
    report: StudentReport
    assessment: Assessment
    registered: Registered
    page: PageReport | None = None
    labelled: Labelled | None = None


@dataclass(frozen=True)
class RunReport:
    """Everything a run reports.

    `failures`: students and labelled columns that could not be finished, with the reason.
    `labelled`: the teacher's scores.
    """

    name: str
    targets: dict[str, TargetsReport]
    teacher: Evaluation
    students: tuple[StudentOutcome, ...]
    failures: dict[str, str] = field(default_factory=dict)
    labelled: Labelled | None = None

    @property
    def teacher_forward_passes(self) -> int:
        """Forward passes of the teacher that this run made: for targets, for the label-free measures, for
        pictures of features. Those on labelled sets are not counted."""
        targets = sum(report.forward_passes for report in self.targets.values())
        figures = sum(outcome.assessment.teacher_forward_passes for outcome in self.students)
        pages = sum(outcome.page.teacher_forward_passes for outcome in self.students if outcome.page)
        return targets + self.teacher.forward_passes + figures + pages


def table(report: RunReport) -> list[Row]:
    """One row per model: measures (better is ↑ or ↓), seconds, bytes of its targets, registry version.

    Of each labelled set it shows the main measure; there the teacher is also measured in other ways.
    """
    made = report.targets.values()
    known = {"seconds": f"{sum(targets.seconds for targets in made):.1f}"}
    columns = _label_columns(report)
    rows = [_row(TEACHER, report.teacher.metrics, columns, report.labelled, known)]
    others = [] if report.labelled is None else [m.name for m in report.labelled.methods]
    rows += [_row(name, {}, columns, report.labelled, {}) for name in others if name != TEACHER]
    for outcome in report.students:
        promoted = " promoted" if outcome.registered.promoted else ""
        known = {
            "seconds": f"{outcome.report.seconds:.1f}",
            "cache MB": _bytes(report, outcome),
            "version": f"{outcome.registered.version}{promoted}",
        }
        metrics = outcome.assessment.evaluation.metrics
        rows.append(_row(outcome.report.name, metrics, columns, outcome.labelled, known))
    return rows


def targets_table(made: Mapping[str, TargetsReport]) -> list[Row]:
    """One row per kind of targets: what was made and reused, and what it took."""
    return [
        {
            "targets": name,
            "spec": report.digest[:12],
            "shards made": str(report.made),
            "shards reused": str(report.reused),
            "images": str(report.images),
            "quarantined": str(len(report.quarantined)),
            "forward passes": str(report.forward_passes),
            "MB": f"{report.bytes / 1e6:.1f}",
            "time": clock(report.seconds),
        }
        for name, report in made.items()
    ]


def students_table(reports: Sequence[StudentReport]) -> list[Row]:
    """One row per trained student: its losses, and the folder of its model."""
    return [
        {
            "student": report.name,
            "state": "reused" if report.reused else "trained",
            "steps": str(report.steps),
            "training loss": _loss(report.train_loss),
            "validation loss": _loss(report.validation_loss),
            "time": clock(report.seconds),
            "folder": hide_credentials(report.url),
        }
        for report in reports
    ]


def reuse_lines(report: RunReport) -> list[str]:
    """Which targets and students were reused and which made, and what the teacher had to do."""
    lines = [
        f"targets {name}: {targets.made} shards made, {targets.reused} reused"
        + (f", {len(targets.quarantined)} samples quarantined" if targets.quarantined else "")
        for name, targets in report.targets.items()
    ]
    for outcome in report.students:
        trained = "reused" if outcome.report.reused else f"trained for {outcome.report.steps} steps"
        if outcome.report.skipped_steps.count:
            trained += f", {outcome.report.skipped_steps}: no finite loss"
        entry = (
            f"version {outcome.registered.version} {'reused' if outcome.registered.reused else 'registered'}"
        )
        lines.append(f"student {outcome.report.name}: {trained}; {entry}")
    lines.append(f"teacher forward passes: {report.teacher_forward_passes}")
    return lines


def best_student(report: RunReport, config: RunConfig) -> StudentOutcome | None:
    """The last that was promoted, or the best by the gate's first metric that all have."""
    promoted = [outcome for outcome in report.students if outcome.registered.promoted]
    if promoted or not report.students:
        return promoted[-1] if promoted else None
    found = [_measures(outcome) for outcome in report.students]
    wanted = [rule.metric for rule in config.gate.rules] + ["target_cosine_p50"]
    metric = next(name for name in wanted if all(name in measures for measures in found))
    best = (max if is_higher_better(metric) else min)(measures[metric] for measures in found)
    return next(outcome for outcome, m in zip(report.students, found, strict=True) if m[metric] == best)


def _measures(outcome: StudentOutcome) -> Scores:
    """With and without labels."""
    labelled = {} if outcome.labelled is None else outcome.labelled.scores.get(outcome.report.name, {})
    return outcome.assessment.evaluation.metrics | labelled


def figure_urls(outcome: StudentOutcome) -> list[str]:
    """Where a registered student's figures are."""
    return [f"{outcome.registered.url}/{FIGURES}/{name}" for name in outcome.assessment.figures]


def loading_lines(outcome: StudentOutcome) -> str:
    """Stock timm lines that load a student and give its features."""
    url = outcome.registered.url
    place = Folder(url)
    if place.is_local:
        return timm_snippet(load_student(url), str(place.local_path))
    path = outcome.registered.name  # timm reads local folders only
    fetch = f'import fsspec\nfsspec.url_to_fs("{url}")[0].get("{url}", "{path}", recursive=True)\n'
    return fetch + timm_snippet(load_student(url), path)


def _label_columns(report: RunReport) -> list[str]:
    """The main measures of labelled sets that any row has, the teacher's first: one that failed has fewer."""
    beside = [report.labelled, *(outcome.labelled for outcome in report.students)]
    scores = [found for labelled in beside if labelled is not None for found in labelled.scores.values()]
    return list(dict.fromkeys(name for found in scores for name in found if name.endswith(MAIN)))


def _row(
    name: str, metrics: dict[str, float], columns: Sequence[str], labelled: Labelled | None, known: Row
) -> Row:
    measures = {
        f"{_TITLES[metric]} {arrow(metric)}": f"{metrics[metric]:.4f}" if metric in metrics else ""
        for metric in HIGHER_IS_BETTER
    }
    scores = {} if labelled is None else labelled.scores.get(name, {})
    main = {
        f"{measure} {arrow(measure)}": f"{scores[measure]:.3g}" if measure in scores else ""
        for measure in columns
    }
    return {"model": name} | measures | main | {"seconds": "", "cache MB": "", "version": ""} | known


def _loss(losses: Mapping[str, float]) -> str:
    return f"{losses['total']:.4f}" if losses else ""


def _bytes(report: RunReport, outcome: StudentOutcome) -> str:
    targets = report.targets.get(outcome.registered.targets)
    return f"{targets.bytes / 1e6:.1f}" if targets else ""
