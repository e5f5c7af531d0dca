"""`phreg run`, and its parts alone: `phreg targets`, `phreg distil` and `phreg evaluate`."""

import argparse
from functools import partial
from typing import Any

from phreg.cli.options import add_command, add_config, print_table
from phreg.cli.progress import showing
from phreg.cli.tables import say
from phreg.extras import require

EXAMPLE_CONFIG = """\
phreg run photos.yaml --set students.0.registers=4 generation.max_actors=2

photos.yaml:
  name: photos
  images: s3://bucket/photos/photos-{000000..000127}.tar   # lists, globs and brace ranges
  validation: s3://bucket/photos/photos-000128.tar
  output: s3://bucket/phreg/photos
  teacher: {model: timm/vit_small_patch14_dinov2.lvd142m, image_size: 518}
  targets:
    denoised: {views: 10}
  students:
    - {name: reg16, targets: denoised, registers: 16}"""


STAGES = {
    "run": "Images to registered students: targets, distillation, evaluation, registry.",
    "targets": "Only the targets of a run: fills the cache that students are distilled from.",
    "distil": "Only the students of a run, from targets that are in the cache.",
    "evaluate": "Measure, register and judge a run's students; one that is not finished is trained first.",
}  # each the name of a flow of `flows/run.py`


def add(commands: Any) -> None:
    for stage, summary in STAGES.items():
        example = EXAMPLE_CONFIG if stage == "run" else f"phreg {stage} photos.yaml --set device=cpu"
        add_config(add_command(commands, stage, partial(run, stage), summary, example))


def run(stage: str, options: argparse.Namespace) -> int:
    from phreg.config.run import load_config

    load_config(options.config, options.overrides)  # a bad config never starts a run
    require(f"phreg {stage}", "ray", "prefect")
    return run_config(options.config, options.overrides, stage)


def run_config(path: str, overrides: list[str], stage: str = "run") -> int:
    with showing(f"phreg {stage}", "loading phreg, Ray and Prefect"):
        from flows.server import begin_server

        begin_server()  # it comes up beside the slow imports
        import flows.run
        from flows.terminal import prepare_terminal, shown_in_terminal

        prepare_terminal()
    with shown_in_terminal():
        report = getattr(flows.run, stage)(config=path, overrides=overrides)
    if stage == "targets":
        show_targets(report)
    elif stage == "distil":
        show_students(report)
    else:
        show_report(report, path, overrides)
    return 0


def show_targets(made: Any) -> None:
    from phreg.pipeline.report import targets_table

    say()
    print_table(targets_table(made), "no targets")


def show_students(students: Any) -> None:
    from phreg.pipeline.report import students_table

    say()
    print_table(students_table(students), "no students")


def show_report(report: Any, path: str, overrides: list[str]) -> None:
    from phreg.config.run import load_config
    from phreg.pipeline.report import best_student, figure_urls, loading_lines, reuse_lines, table

    say(f"\n{report.name}: what was done")
    for line in reuse_lines(report):
        say(f"  {line}")
    say()
    print_table(table(report), "no students")
    say("\nfigures:")
    for outcome in report.students:
        for url in figure_urls(outcome):
            say(f"  {url}")
    say("\ngate:")
    for outcome in report.students:
        verdict = "promoted" if outcome.registered.promoted else "not promoted"
        say(f"  {outcome.report.name}: {verdict}: {outcome.registered.reason}")
    say()
    for outcome in report.students:
        if outcome.page is not None:
            say(f"report: {outcome.page.url}")
    best = best_student(report, load_config(path, overrides))
    if best is not None:
        say(f"\nload {best.report.name}, the best student, with stock timm:\n")
        say(loading_lines(best))
