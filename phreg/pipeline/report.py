"""What a run comes to: one table, the teacher beside every student, and how to load the best."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from phreg.config import RunConfig
from phreg.distill.result import StudentReport
from phreg.evaluate import Evaluation
from phreg.execution.targets import TargetsReport
from phreg.models import load_student, timm_snippet
from phreg.pipeline.assess import FIGURES, Assessment
from phreg.pipeline.page import PageReport
from phreg.pipeline.register import Registered
from phreg.storage import Folder
from phreg.types import HIGHER_IS_BETTER

Row = dict[str, str]
_TITLES = {
    "outlier_rate": "outliers",
    "shift_cosine_mean": "shift cos",
    "shift_cosine_p5": "shift p5",
    "target_cosine_p1": "target p1",
    "target_cosine_p5": "target p5",
    "target_cosine_p50": "target p50",
}


@dataclass(frozen=True)
class StudentOutcome:
    report: StudentReport
    assessment: Assessment
    registered: Registered
    page: PageReport | None = None


@dataclass(frozen=True)
class RunReport:
    """Everything a run reports. `failures`: students that could not be finished, with the reason."""

    name: str
    targets: dict[str, TargetsReport]
    teacher: Evaluation
    students: tuple[StudentOutcome, ...]
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def teacher_forward_passes(self) -> int:
        """Forward passes of the teacher that this run made: for targets, to measure it, for pictures."""
        targets = sum(report.forward_passes for report in self.targets.values())
        figures = sum(outcome.assessment.teacher_forward_passes for outcome in self.students)
        pages = sum(outcome.page.teacher_forward_passes for outcome in self.students if outcome.page)
        return targets + self.teacher.forward_passes + figures + pages


def table(report: RunReport) -> list[Row]:
    """One row a model: measures (better is ↑ or ↓), seconds, bytes of its targets, registry version."""
    rows = [_row("teacher", report.teacher.metrics, _seconds(report.targets.values()), "", "")]
    for outcome in report.students:
        version = f"{outcome.registered.version}{' promoted' if outcome.registered.promoted else ''}"
        rows.append(
            _row(
                outcome.report.name,
                outcome.assessment.evaluation.metrics,
                f"{outcome.report.seconds:.1f}",
                _bytes(report, outcome),
                version,
            )
        )
    return rows


def markdown_table(rows: Sequence[Row]) -> str:
    header = list(rows[0])
    lines = [header, ["---"] * len(header), *(list(row.values()) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def reuse_lines(report: RunReport) -> list[str]:
    """Which targets and students were reused and which made, and what the teacher had to do."""
    lines = [
        f"targets {name}: {targets.made} shards made, {targets.reused} reused"
        + (f", {len(targets.quarantined)} samples quarantined" if targets.quarantined else "")
        for name, targets in report.targets.items()
    ]
    for outcome in report.students:
        trained = "reused" if outcome.report.reused else f"trained for {outcome.report.steps} steps"
        entry = (
            f"version {outcome.registered.version} {'reused' if outcome.registered.reused else 'registered'}"
        )
        lines.append(f"student {outcome.report.name}: {trained}; {entry}")
    lines.append(f"teacher forward passes: {report.teacher_forward_passes}")
    return lines


def best_student(report: RunReport, config: RunConfig) -> StudentOutcome | None:
    """The last that was promoted, or the best by the gate's first metric."""
    promoted = [outcome for outcome in report.students if outcome.registered.promoted]
    if promoted or not report.students:
        return promoted[-1] if promoted else None
    metric = config.gate.rules[0].metric if config.gate.rules else "target_cosine_p50"
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    return max(report.students, key=lambda outcome: sign * outcome.assessment.evaluation.metrics[metric])


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


def _row(name: str, metrics: dict[str, float], seconds: str, size: str, version: str) -> Row:
    measures = {
        f"{_TITLES[metric]} {'↑' if higher else '↓'}": f"{metrics[metric]:.4f}" if metric in metrics else ""
        for metric, higher in HIGHER_IS_BETTER.items()
    }
    return {"model": name} | measures | {"seconds": seconds, "cache MB": size, "version": version}


def _seconds(targets: Iterable[TargetsReport]) -> str:
    return f"{sum(report.seconds for report in targets):.1f}"


def _bytes(report: RunReport, outcome: StudentOutcome) -> str:
    targets = report.targets.get(outcome.registered.targets)
    return f"{targets.bytes / 1e6:.1f}" if targets else ""
