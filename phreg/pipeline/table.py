"""A table of methods by measures, over seeds: as markdown for people, as CSV for programs."""

import csv
import io
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from phreg.config.table import TableConfig
from phreg.errors import ConfigError
from phreg.method.denoising import denoiser_of
from phreg.models import load_teacher
from phreg.pipeline.columns import Scores, arrow, is_count, is_higher_better, shown_measures
from phreg.pipeline.prepare import Prepared
from phreg.report.markdown import markdown_table
from phreg.storage import Folder


@dataclass(frozen=True)
class Table:
    """`scores[row]`: one dict of measures a seed. `failures`: rows of a seed that could not be had."""

    name: str
    title: str
    seeds: tuple[int, ...]
    scores: dict[str, list[Scores]]
    absent: tuple[str, ...] = ()
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        return shown_measures([run for runs in self.scores.values() for run in runs])


def check_columns(table: TableConfig, prepared: Prepared) -> None:
    """Raises `ConfigError` if a table would have no column, because none of its sets is there."""
    if not prepared.columns and not table.label_free:
        raise ConfigError(
            f"None of the labelled sets of the table {table.name} is there",
            expected="the folder of at least one",
            found=f"none for {', '.join(prepared.absent)}",
            remedy="unpack one where the config says, or change its root",
        )


def check_rows(table: TableConfig) -> None:
    """Raises `ConfigError` if the teacher cannot be read, or cleaned, as a row says."""
    cleaned = [row for row in table.teacher_rows if not row.denoiser.is_one_pass]
    for read_out in sorted({row.read_out for row in cleaned}):
        teacher = load_teacher(table.run.teacher.model_copy(update={"read_out": read_out}))
        for row in cleaned:
            if row.read_out == read_out:
                denoiser_of(row.denoiser).check(teacher)


def markdown(table: Table) -> str:
    """Mean and sample standard deviation over the seeds, the best mean of each column in bold."""
    header = ["method", *(f"{name} {arrow(name)}" for name in table.columns)]
    best = {name: _best(table, name) for name in table.columns}
    rows = [
        [row, *(_cell(runs, name, best[name]) for name in table.columns)]
        for row, runs in table.scores.items()
    ]
    title = [table.title, ""] if table.title else []
    return "\n".join([*title, markdown_table(header, rows), "", *notes(table)]) + "\n"


def notes(table: Table) -> list[str]:
    """Lines to stand below a table: what its numbers are, what was left out, what failed."""
    lines = [f"{len(table.seeds)} seed{'s' if len(table.seeds) > 1 else ''}; mean ± standard deviation."]
    lines += [f"Not there, so left out: {', '.join(table.absent)}."] if table.absent else []
    return lines + [f"- {row} failed: {reason}" for row, reason in table.failures.items()]


def as_csv(table: Table) -> str:
    """One line per row, seed and measure."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["table", "method", "seed", "measure", "value"])
    for row, runs in table.scores.items():
        for seed, run in zip(table.seeds, runs, strict=True):
            writer.writerows([table.name, row, seed, name, f"{value:.6g}"] for name, value in run.items())
    return text.getvalue()


def records(table: Table, arrows: bool = False) -> list[dict[str, str]]:
    """The cells as text, for a table artifact and a terminal; `arrows` in the columns' names say what is
    better."""
    titles = {name: f"{name} {arrow(name)}" if arrows else name for name in table.columns}
    return [
        {"method": row} | {title: _cell(runs, name, None) for name, title in titles.items()}
        for row, runs in table.scores.items()
    ]


def write_table(table: Table, output: Folder) -> tuple[str, str]:
    """Put `tables/NAME.md` and `tables/NAME.csv`; returns their URLs."""
    folder = output / "tables"
    folder.write(f"{table.name}.md", markdown(table).encode())
    folder.write(f"{table.name}.csv", as_csv(table).encode())
    return folder.url_of(f"{table.name}.md"), folder.url_of(f"{table.name}.csv")


def _values(runs: Sequence[Scores], name: str) -> list[float]:
    return [run[name] for run in runs if name in run]


def _cell(runs: Sequence[Scores], name: str, best: float | None) -> str:
    values = _values(runs, name)
    if not values:
        return ""
    if is_count(name):
        return f"{max(values):.0f}"
    digits = 1 if name.endswith(("mIoU", "accuracy")) else 4
    mean = statistics.fmean(values)
    shown = f"{mean:.{digits}f}"
    if best is not None and mean == best:
        shown = f"**{shown}**"
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return shown + spread + (f" ({len(values)} of {len(runs)})" if len(values) < len(runs) else "")


def _best(table: Table, name: str) -> float | None:
    means = [statistics.fmean(v) for runs in table.scores.values() if (v := _values(runs, name))]
    if not means or is_count(name):
        return None
    return max(means) if is_higher_better(name) else min(means)
