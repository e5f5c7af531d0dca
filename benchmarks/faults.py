"""The table of faults: runs the fault suite and writes what each fault came to (benchmarks/faults.md).

python benchmarks/faults.py --tries 3 [-k EXPRESSION]
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TITLE = "| fault | tries | survived | re-run needed | made again, at most | lost or wrong |"
RULE = "| --- | ---: | ---: | ---: | ---: | ---: |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tries", type=int, default=1, help="how often the whole suite runs")
    parser.add_argument("-k", dest="select", default="", help="as pytest's -k")
    parser.add_argument("--out", type=Path, default=HERE / "faults.md")
    parser.add_argument(
        "--ledger", type=Path, help="trials of runs with PHREG_FAULTS_LEDGER=FILE; nothing is run"
    )
    options = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        ledger = options.ledger or Path(folder) / "ledger.jsonl"
        if options.ledger is None:
            ledger.touch()
            failed = sum(_run_suite(ledger, options.select) != 0 for _ in range(options.tries))
        trials = [json.loads(line) for line in ledger.read_text().splitlines()]
    options.out.write_text(markdown(trials))
    print(f"{len(trials)} trials, {sum(not t['survived'] for t in trials)} not survived: {options.out}")
    return 1 if failed else 0


def _run_suite(ledger: Path, select: str) -> int:
    chosen = ["-k", select] if select else []
    command = [sys.executable, "-m", "pytest", "-q", str(HERE.parent / "tests" / "faults"), *chosen]
    return subprocess.run(command, env=os.environ | {"PHREG_FAULTS_LEDGER": str(ledger)}).returncode


def markdown(trials: list[dict[str, Any]]) -> str:
    """One table a group, one line a fault, in the order in which they were first tried."""
    machine = (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    )
    lines = ["# Faults", "", f"Made by `benchmarks/faults.py` from {len(trials)} trials on {machine}."]
    for group in dict.fromkeys(trial["group"] for trial in trials):
        lines += [
            "",
            f"## {group[:1].upper()}{group[1:]}",
            "",
            TITLE,
            "| --- | ---: | ---: | ---: | ---: | ---: |",
        ]
        of_group = [trial for trial in trials if trial["group"] == group]
        for fault in dict.fromkeys(trial["fault"] for trial in of_group):
            lines.append(_line(fault, [trial for trial in of_group if trial["fault"] == fault]))
        notes = [f"- {trial['fault']}: {trial['note']}" for trial in of_group if trial.get("note")]
        lines += ["", *notes] if notes else []
    return "\n".join(lines) + "\n"


def _line(fault: str, trials: list[dict[str, Any]]) -> str:
    survived = sum(trial["survived"] for trial in trials)
    reruns = sum(trial["rerun"] for trial in trials)
    repeated, lost = (max(trial[name] for trial in trials) for name in ("repeated", "lost"))
    return f"| {fault} | {len(trials)} | {survived} | {reruns} | {repeated} {trials[0]['unit']} | {lost} |"


if __name__ == "__main__":
    sys.exit(main())
