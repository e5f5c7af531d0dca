"""`phreg doctor`."""

import argparse
from typing import TYPE_CHECKING, Any

from phreg.cli.options import add_command, add_device
from phreg.cli.progress import showing
from phreg.cli.tables import plain, say

if TYPE_CHECKING:
    from phreg.pipeline.doctor import Finding


def add(commands: Any) -> None:
    parser = add_command(
        commands, "doctor", doctor, "Is all there that a run needs? Looks, and says what to do.",
        "phreg doctor\nphreg doctor s3://bucket/phreg --ray-address auto",
    )  # fmt: skip
    parser.add_argument(
        "url", metavar="URL", nargs="?", help="folder for runs: written to, read from and left as it was"
    )
    parser.add_argument("--ray-address", metavar="ADDRESS", help="of the cluster; default: RAY_ADDRESS")
    add_device(parser)


def doctor(options: argparse.Namespace) -> int:
    with showing("phreg doctor"):
        from phreg.pipeline.doctor import WRONG, examine

        findings = [*examine(options.url, options.ray_address, options.device), _prefect()]
    for finding in findings:
        say(f"{finding.state:5}  {finding.check:11}  {plain(finding.found)}")
        if finding.remedy:
            say(f"{'':20}what to do: {plain(finding.remedy)}")
    return 1 if any(finding.state == WRONG for finding in findings) else 0


def _prefect() -> "Finding":
    """Only here: the layers below know nothing of Prefect."""
    from phreg.errors import PhregError
    from phreg.extras import installed
    from phreg.pipeline.doctor import OK, Finding, failed, not_installed

    if not installed("prefect"):
        return not_installed("Prefect", "prefect")
    from flows.server import named_server

    try:
        url = named_server()
    except PhregError as error:
        return failed("Prefect", error)
    found = f"its server answers at {url}" if url else "no server is named: each run starts one for its time"
    return Finding("Prefect", OK, found)
