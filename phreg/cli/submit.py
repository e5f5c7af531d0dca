"""`phreg submit`: a run as a job of a Ray cluster."""

import argparse
import json
import re
from pathlib import PurePosixPath
from typing import Any

from phreg.cli.interrupts import INTERRUPTED
from phreg.cli.options import add_command, add_config
from phreg.cli.progress import showing
from phreg.cli.tables import say, terminal_width, warn
from phreg.errors import hide_credentials
from phreg.extras import require
from phreg.fingerprint import digest_json


def add(commands: Any) -> None:
    parser = add_command(
        commands, "submit", submit, "The same run as a job of a Ray cluster, followed to its end.",
        "phreg submit photos.yaml --address http://127.0.0.1:8265 --set students.0.registers=4",
    )  # fmt: skip
    add_config(parser)
    parser.add_argument(
        "--address",
        required=True,
        metavar="URL",
        help="the dashboard of the cluster's head, http://HOST:8265",
    )
    parser.add_argument("--detach", action="store_true", help="print the job's id, and do not follow it")


def submit(options: argparse.Namespace) -> int:
    name, command, files = job_of(options.config, options.overrides)
    require("phreg submit", "ray")
    # With what the job is to do in its id, the same command finds it again.
    stem = f"phreg-{name}-{digest_json([command, *map(bytes.decode, files.values())])[:8]}"
    width = terminal_width()
    with showing("phreg submit", f"asking {hide_credentials(options.address)}"):
        from phreg.execution.jobs import Jobs

        jobs = Jobs(options.address)
        job, found = jobs.submit(stem, command, files, {"COLUMNS": str(width)} if width else {})
    warn(f"the job {job} {'is at work already' if found else 'was submitted'}")
    if options.detach:
        say(job)
        return 0
    try:
        code = jobs.follow(job, lambda text: print(text, end="", flush=True))
    except KeyboardInterrupt:
        warn(f"the job {job} goes on: the same command follows it again, `ray job stop {job}` stops it")
        return INTERRUPTED
    warn(f"the job {job} ended with exit code {code}")
    return code


def job_of(path: str, overrides: list[str]) -> tuple[str, list[str], dict[str, bytes]]:
    """A name for the job, its command, and the files that are sent with it.

    A config at a URL is read by the job. A local one is checked here and sent, overrides applied and paths
    made absolute. Raises `ConfigError` if any of it carries credentials: the cluster keeps what it is sent.
    """
    from phreg.config.reading import check_no_secrets
    from phreg.config.run import dump_config, load_config
    from phreg.storage.file_systems import local_path

    if local_path(path) is None:
        check_no_secrets(path, overrides)
        name = re.sub(r"[^A-Za-z0-9._-]+", "_", PurePosixPath(path).stem)[:100]
        return name, ["phreg", "run", path, *(["--set", *overrides] if overrides else [])], {}
    config = load_config(path, overrides)
    check_no_secrets(
        json.dumps(config.model_dump(mode="json")),
        what=f"The config {path}",
        kept="a Ray cluster keeps what a job is sent",
        remedy="leave them to the environment of the cluster, or give the config as a URL that it can read",
    )
    file = f"{config.name}.yaml"
    return config.name, ["phreg", "run", file], {file: dump_config(config)}
