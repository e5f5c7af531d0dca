"""Names and tags by which runs are found in Prefect's UI: what they are of, and how much of it."""

from collections.abc import Callable
from contextlib import suppress

import httpx
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from phreg.config.run import RunConfig, read_run
from phreg.config.table import load_table
from phreg.errors import PhregError, hide_credentials

TAG = "phreg"


def run_name() -> str:
    """`photos: 3 targets, 8 students`."""
    return _named(lambda c: f"{c.name}: {_many(c.used_targets, 'target')}, {_many(c.students, 'student')}")


def targets_name() -> str:
    return _named(lambda config: f"{config.name}: {_many(config.used_targets, 'target')}")


def distil_name() -> str:
    return _named(lambda config: f"{config.name}: {_many(config.students, 'student')}")


def evaluate_name() -> str:
    return _named(lambda config: f"{config.name}: evaluation of {_many(config.students, 'student')}")


def table_name() -> str:
    """`main: 6 methods, 3 seeds`."""
    url, overrides = _arguments()
    try:
        table = load_table(url, overrides)
    except PhregError:
        return hide_credentials(url)
    methods = [*table.teacher_rows, *table.run.students]
    return f"{table.name}: {_many(methods, 'method')}, {_many(table.seeds, 'seed')}"


def tag_run(*names: str) -> None:
    """Tag the flow run that this is, besides what it is tagged with: `phreg`, and the name of its config."""
    tags = dict.fromkeys([*(flow_run.tags or ()), TAG, *names])
    with suppress(httpx.HTTPError), get_client(sync_client=True) as client:  # tags are no reason to fail
        client.update_flow_run(flow_run.id, tags=list(tags))


def _named(name: Callable[[RunConfig], str]) -> str:
    """A config that cannot be read has the flow fail, not the search for its name."""
    url, overrides = _arguments()
    try:
        return name(read_run(url, overrides, (flow_run.parameters or {}).get("settings")))
    except PhregError:
        return hide_credentials(url) or "no config"


def _arguments() -> tuple[str, list[str]]:
    given = flow_run.parameters or {}
    return str(given.get("config") or ""), list(given.get("overrides") or [])


def _many(things: object, word: str) -> str:
    count = len(things)  # type: ignore[arg-type]
    return f"{count} {word}{'' if count == 1 else 's'}"
