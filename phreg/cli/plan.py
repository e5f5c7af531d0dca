"""`phreg plan`."""

import argparse
from functools import partial
from typing import Any

from phreg.cli.options import add_command, add_config, human_bytes, human_count, print_table
from phreg.cli.progress import showing
from phreg.cli.tables import say
from phreg.progress import tell
from phreg.progress_reporter import clock


def add(commands: Any) -> None:
    parser = add_command(
        commands, "plan", plan, "What a run would do and what is there already, without doing it.",
        "phreg plan photos.yaml --set targets.denoised.views=20",
    )  # fmt: skip
    add_config(parser)


def plan(options: argparse.Namespace) -> int:
    from phreg.config.run import load_config

    config = load_config(options.config, options.overrides)  # its mistakes are told at once, without torch
    from phreg.pipeline.device import planned_device
    from phreg.pipeline.plan import make_plan

    with showing("planning"):
        config, device = planned_device(config)
        plan = make_plan(config, partial(tell, "counting", things="shards"))
    fits = any(t.fitting_steps for t in plan.targets)
    rows = [
        {
            "targets": t.name,
            "denoised by": t.by,
            "spec": t.digest[:12],
            "shards done": f"{t.shards_done} of {t.shards}",
            "images to do": str(t.images),
            "forward passes": human_count(t.forward_passes),
            **({"fitting steps": human_count(t.fitting_steps)} if fits else {}),
            "FLOPs": human_count(t.flops),
            "cache": human_bytes(t.cache_bytes),
            "objects": str(t.objects),
            "time": _time(t.seconds),
        }
        for t in plan.targets
    ]
    say(f"device: {device}\n")
    print_table(rows, "no targets")
    say()
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
    say(f"\n{_time_words(plan, config.prices)}")
    say(_storage_words(plan, config.prices))
    if plan.absent:
        say(f"\nlabelled sets that are not there, and would be left out: {', '.join(plan.absent)}")
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
