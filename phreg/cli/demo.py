"""`phreg demo`."""

import argparse
from pathlib import Path
from typing import Any

from phreg.cli.options import add_command
from phreg.cli.progress import showing
from phreg.cli.tables import say
from phreg.extras import require


def add(commands: Any) -> None:
    parser = add_command(
        commands, "demo", demo, "The whole pipeline on drawn scenes and the small CLIP in the package.",
        "phreg demo --weights clip-vit-b16 --photos ~/photos --output runs/real",
    )  # fmt: skip
    parser.add_argument("--output", default="runs/demo", help="folder of everything it writes (runs/demo)")
    parser.add_argument(
        "--weights", metavar="DIR",
        help="a ViT of your own instead of the small CLIP: a folder in timm's or open_clip's hub layout",
    )  # fmt: skip
    parser.add_argument(
        "--photos", metavar="DIR", help="a folder of images instead of drawn scenes; there are no labels then"
    )


def demo(options: argparse.Namespace) -> int:
    require("phreg demo", "ray", "prefect")
    from phreg.cli.run import run_config
    from phreg.cli.table import run_table
    from phreg.demo import make_demo

    with showing("phreg demo", "packing the photos" if options.photos else "drawing the scenes"):
        run, table = make_demo(Path(options.output), options.weights, options.photos)
    say(f"configs: {run}" + (f", {table}" if table else ""))
    failed = run_config(str(run), [])
    return failed or (run_table(str(table), [], options.output) if table else 0)
