"""Known vulnerabilities in what we pin (infra/requirements.txt), by pip-audit. Further arguments go to it.

Exit code 1 for a known vulnerability that is not in IGNORED; 0 else, also where the service that knows them
could not be asked: that is said.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
SECONDS = 300
IGNORED: dict[str, str] = {}
"""Identifiers of vulnerabilities that do not touch us, each with the reason."""


def main(arguments: list[str]) -> int:
    given = [] if {"-r", "--requirement"} & set(arguments) else ["--requirement", str(REQUIREMENTS)]
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off",
               "--no-deps", "--disable-pip", *given, *arguments]  # fmt: skip
    try:
        run = subprocess.run(  # noqa: S603 (fixed program)
            command, capture_output=True, text=True, timeout=SECONDS
        )
        report = json.loads(run.stdout)
    except subprocess.TimeoutExpired:
        return unreachable(f"no answer within {SECONDS} s")
    except ValueError:
        lines = run.stderr.strip().splitlines() or [f"exit code {run.returncode}"]
        return unreachable(lines[-1][:300])
    return judge(report["dependencies"])


def judge(packages: list[dict[str, Any]]) -> int:
    """What pip-audit found of each package, said; and the exit code."""
    skipped = [package for package in packages if "skip_reason" in package]
    if packages and len(skipped) == len(packages):
        return unreachable(skipped[0]["skip_reason"])
    known = 0
    for package in packages:
        for found in package.get("vulns", ()):
            names = [found["id"], *found.get("aliases", ())]
            reason = next((IGNORED[name] for name in names if name in IGNORED), "")
            known += not reason
            mended = (
                f"mended in {', '.join(found['fix_versions'])}" if found["fix_versions"] else "not mended yet"
            )
            print(f"{package['name']} {package['version']}: {names[0]}: {reason or mended}")
    print(f"audit: {len(packages) - len(skipped)} packages, {known} known vulnerabilities")
    for package in skipped:
        print(f"audit: {package['name']} could not be looked up: {package['skip_reason']}")
    return 1 if known else 0


def unreachable(why: str) -> int:
    print(f"audit: NOTHING WAS AUDITED, the service could not be asked: {why}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
