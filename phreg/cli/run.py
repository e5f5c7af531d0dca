"""`phreg run` and `phreg plan`."""

import argparse
from functools import partial
from typing import Any

from phreg.cli.options import add_command, add_config, human_bytes, human_count, print_table
from phreg.cli.progress import showing
from phreg.errors import hide_credentials
from phreg.extras import require
from phreg.progress import tell
from phreg.progress_reporter import clock

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


def add(commands: Any) -> None:
    parser = add_command(
        commands, "run", run, "Images to registered students: targets, distillation, evaluation, registry.",
        EXAMPLE_CONFIG,
    )  # fmt: skip
    add_config(parser)
    parser = add_command(
        commands, "plan", plan, "What a run would do and what is there already, without doing it.",
        "phreg plan photos.yaml --set targets.denoised.views=20",
    )  # fmt: skip
    add_config(parser)


def run(options: argparse.Namespace) -> int:
    from phreg.config.run import load_config

    load_config(options.config, options.overrides)  # a bad config never starts a run
    require("phreg run", "ray", "prefect")
    return run_config(options.config, options.overrides)


def run_config(path: str, overrides: list[str]) -> int:
    with showing("phreg run", "loading phreg, Ray and Prefect"):
        from flows.server import begin_server

        begin_server()  # it comes up beside the slow imports
        from flows.run import run as run_flow
        from flows.terminal import prepare_terminal, shown_in_terminal

        prepare_terminal()
    with shown_in_terminal():
        report = run_flow(config=path, overrides=overrides)
    show_report(report, path, overrides)
    return 0


def show_report(report: Any, path: str, overrides: list[str]) -> None:
    from phreg.config.run import load_config
    from phreg.pipeline.report import best_student, figure_urls, loading_lines, reuse_lines, table

    print(f"\n{report.name}: what was done")
    for line in reuse_lines(report):
        print(f"  {line}")
    print()
    print_table(table(report), "no students")
    print("\nfigures:")
    for outcome in report.students:
        for url in figure_urls(outcome):
            print(f"  {hide_credentials(url)}")
    print("\ngate:")
    for outcome in report.students:
        verdict = "promoted" if outcome.registered.promoted else "not promoted"
        print(f"  {outcome.report.name}: {verdict}: {outcome.registered.reason}")
    print()
    for outcome in report.students:
        if outcome.page is not None:
            print(f"report: {hide_credentials(outcome.page.url)}")
    best = best_student(report, load_config(path, overrides))
    if best is not None:
        print(f"\nload {best.report.name}, the best student, with stock timm:\n")
        url = best.registered.url
        print(loading_lines(best).replace(url, hide_credentials(url)))


def plan(options: argparse.Namespace) -> int:
    from phreg.config.run import load_config

    config = load_config(options.config, options.overrides)  # its mistakes are told at once, without torch
    from phreg.pipeline.device import planned_device
    from phreg.pipeline.plan import make_plan

    with showing("planning"):
        config, device = planned_device(config)
        plan = make_plan(config, partial(tell, "counting", things="shards"))
    rows = [
        {
            "targets": t.name,
            "denoised by": t.by,
            "spec": t.digest[:12],
            "shards done": f"{t.shards_done} of {t.shards}",
            "images to do": str(t.images),
            "forward passes": human_count(t.forward_passes),
            "FLOPs": human_count(t.flops),
            "cache": human_bytes(t.cache_bytes),
            "objects": str(t.objects),
            "time": _time(t.seconds),
        }
        for t in plan.targets
    ]
    print(f"device: {device}\n")
    print_table(rows, "no targets")
    print()
    students = [
        {
            "student": s.name,
            "steps": str(s.steps),
            "crops": human_count(s.crops),
            "FLOPs": human_count(s.flops),
            "memory per worker": human_bytes(s.memory_bytes),
            "time": _time(s.seconds),
            "state": "done" if s.done else "to do",
        }
        for s in plan.students
    ]
    print_table(students, "no students")
    print(f"\n{_time_words(plan, config.prices)}")
    print(_storage_words(plan, config.prices))
    if plan.absent:
        print(f"\nlabelled sets that are not there, and would be left out: {', '.join(plan.absent)}")
    return 0


def _time(seconds: float | None) -> str:
    return "" if seconds is None else f"about {clock(seconds)}"


def _storage_words(plan: Any, prices: Any) -> str:
    """What all targets take once they are made, and what that costs."""
    size = sum(part.whole_bytes for part in plan.targets)
    cost = "" if prices.gb_month is None else f", {size / 1e9 * prices.gb_month:.2f} a month"
    return f"about {human_bytes(size)} of targets in the cache, all made{cost}"


def _time_words(plan: Any, prices: Any) -> str:
    """The times together, and what their GPUs cost; how to have them, where one is not known."""
    parts = [*plan.targets, *plan.students]
    if any(part.seconds is None for part in parts):
        return (
            "times are told at the rate of an earlier run into the same output: make one with few images "
            "(--set images=ONE_SHARD), and plan again"
        )
    hours = sum(part.gpu_hours for part in parts)
    cost = "" if prices.gpu_hour is None else f" for {hours * prices.gpu_hour:.2f}"
    gpus = f", {hours:.1f} GPU hours{cost}" if hours else ""
    return f"about {clock(sum(part.seconds for part in parts))} in all, as fast as the last run{gpus}"
