"""What was measured, as CSV and Markdown: each method's mIoU, and its gain over the teacher."""

import csv
from collections.abc import Sequence
from pathlib import Path

from benchmarks.real.measure import Row, rows
from benchmarks.real.protocols import Bench
from phreg.evaluate.bootstrap import Difference, paired_difference

CONFIDENCE = 0.95
HEADER = ("method", "set", "protocol", "images", "classes", "mIoU", "accuracy", "gain", "low", "high")


def results(benches: Sequence[Bench], out: Path) -> list[Row]:
    """All that is there, the teacher first."""
    found = []
    for bench in benches:
        folder = out / "results" / f"{bench.name}-{bench.config.images or 'all'}"
        paths = sorted(
            folder.glob("*.npz"), key=lambda path: (not path.stem.startswith("teacher"), path.stem)
        )
        found += [row for path in paths for row in rows(path, bench)]
    return found


def gain(row: Row, all_rows: Sequence[Row]) -> Difference | None:
    """Over the teacher in one pass under the same read-out, on the same images, in points."""
    _, _, read_as = row.method.rpartition("read ")
    same = [r for r in all_rows if r.method == f"teacher, read {read_as}" and r.protocol == row.protocol]
    if not same or same[0].method == row.method:
        return None
    found = paired_difference(row.counts, same[0].counts, "mIoU", row.min_images, CONFIDENCE)
    return Difference(100 * found.value, 100 * found.low, 100 * found.high, CONFIDENCE, found.images)


def write_tables(all_rows: Sequence[Row], path: Path) -> None:
    """`path`.csv and `path`.md."""
    write_csv(all_rows, path.with_suffix(".csv"))
    path.with_suffix(".md").write_text(markdown(all_rows))


def write_csv(all_rows: Sequence[Row], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        for row in all_rows:
            over = gain(row, all_rows)
            numbers = (
                ["", "", ""] if over is None else [f"{n:.2f}" for n in (over.value, over.low, over.high)]
            )
            counted = [len(row.counts.keys), int(row.chosen.sum()), f"{row.miou:.2f}", f"{row.accuracy:.2f}"]
            writer.writerow([row.method, row.bench, row.protocol, *counted, *numbers])


def markdown(all_rows: Sequence[Row]) -> str:
    """A line a method, a column a protocol: mIoU, and the gain's interval in brackets."""
    protocols = list(dict.fromkeys(row.protocol for row in all_rows))
    methods = list(dict.fromkeys(row.method for row in all_rows))
    lines = [f"| method | {' | '.join(protocols)} |", f"| --- |{' --- |' * len(protocols)}"]
    at = {(row.method, row.protocol): row for row in all_rows}
    for method in methods:
        cells = [_cell(at.get((method, protocol)), all_rows) for protocol in protocols]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(row: Row | None, all_rows: Sequence[Row]) -> str:
    if row is None:
        return ""
    over = gain(row, all_rows)
    return f"{row.miou:.1f}" + ("" if over is None else f" [{over.low:+.1f}, {over.high:+.1f}]")
