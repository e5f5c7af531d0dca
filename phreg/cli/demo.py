"""`phreg demo`."""

import argparse
from pathlib import Path
from typing import Any

from phreg.cli.options import add_command
from phreg.cli.progress import showing
from phreg.extras import require


def add(commands: Any) -> None:
    parser = add_command(
        commands, "demo", demo, "The whole pipeline on drawn scenes and the small CLIP in the package.",
        "phreg demo --output runs/demo",
    )  # fmt: skip
    parser.add_argument("--output", default="runs/demo", help="folder of everything it writes (runs/demo)")


def demo(options: argparse.Namespace) -> int:
    require("phreg demo", "ray", "prefect")
    from phreg.cli.run import run_config
    from phreg.cli.table import run_table
    from phreg.demo import make_demo

    with showing("phreg demo", "drawing the scenes"):
        run, table = make_demo(Path(options.output))
    print(f"configs: {run}, {table}", flush=True)
    failed = run_config(str(run), [])
    return failed or run_table(str(table), [], options.output)
