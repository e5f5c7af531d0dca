"""`phreg table`."""

import argparse
from typing import Any

from phreg.cli.options import add_command, add_config, print_table
from phreg.cli.progress import showing
from phreg.cli.tables import say
from phreg.extras import require

EXAMPLE_CONFIG = """\
phreg table table.yaml

table.yaml, beside the photos.yaml that `phreg run --help` shows:
  name: photos
  run: photos.yaml                   # its students are rows, its `labels:` are columns
  teacher_rows:
    - {name: teacher, read_out: standard}
    - {name: "denoised teacher, 10 passes", read_out: standard, views: 10}
    - {name: "registers, 1 pass", read_out: standard, method: test_time_registers}
  label_free: true                   # also shift consistency and the like, without labels
  seeds: [0, 1, 2]"""


def add(commands: Any) -> None:
    parser = add_command(
        commands, "table", table, "A table of methods on labelled sets and probes, over seeds.",
        EXAMPLE_CONFIG,
    )  # fmt: skip
    add_config(parser, "table")


def table(options: argparse.Namespace) -> int:
    from phreg.config.table import load_table

    settings = load_table(options.config, options.overrides)  # a bad config never starts a run
    require("phreg table", "ray", "prefect")
    return run_table(options.config, options.overrides, settings.run.output)


def run_table(path: str, overrides: list[str], output: str) -> int:
    with showing("phreg table", "loading phreg, Ray and Prefect"):
        from flows.server import begin_server

        begin_server()  # it comes up beside the slow imports
        from flows.table import table as table_flow
        from flows.terminal import prepare_terminal, shown_in_terminal
        from phreg.pipeline.table import notes, records

        prepare_terminal()
    with shown_in_terminal():
        found = table_flow(config=path, overrides=overrides)
    say(f"\n{found.title or found.name}\n")
    print_table(records(found, arrows=True), "no methods")
    say("\n".join(["", *notes(found), ""]))
    say(f"as markdown and CSV: {output.rstrip('/')}/tables/{found.name}.md, .csv")
    return 1 if found.failures else 0
