"""A driver of target generation as a process of its own: `python -m tests.faults.drive JOB.json`.

Prints its report as one JSON line. Exit code 1 and the error's text for a `PhregError`, as `phreg run` does.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phreg.config.run import GenerationConfig, TeacherConfig
from phreg.errors import PhregError
from phreg.execution import watch
from phreg.execution.targets import generate_targets
from tests.generate.worlds import World

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Driver:
    process: subprocess.Popen[bytes]
    folder: Path

    def ends(self, seconds: float = 240) -> int:
        """Its exit code, waited for. One that does not end is killed."""
        try:
            return self.process.wait(seconds)
        finally:
            self.process.kill()

    @property
    def errors(self) -> str:
        return (self.folder / "errors").read_text()

    @property
    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "output").read_text().splitlines()[-1])
        return found


def start(
    folder: Path,
    world: World,
    urls: list[str],
    generation: GenerationConfig,
    *,
    address: str = "local",
    environment: Mapping[str, str] | None = None,
    patience: float | None = None,
) -> Driver:
    """Start one; `folder` (made) holds its job, and what it prints: Ray may print more than a pipe takes."""
    job: dict[str, Any] = {
        "teacher": world.teacher.model_dump(),
        "cache_url": world.cache.url,
        "digest": world.spec.digest,
        "urls": urls,
        "generation": generation.model_dump(),
        "address": address,
        "patience": patience,
    }
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps(job))
    with (folder / "output").open("w") as output, (folder / "errors").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.drive", str(folder / "job.json")],
            cwd=REPOSITORY,
            env=os.environ | dict(environment or {}),
            stdout=output,
            stderr=errors,
        )
    return Driver(process, folder)


def main() -> int:
    job = json.loads(Path(sys.argv[1]).read_text())
    watch.PATIENCE_S = job.pop("patience") or watch.PATIENCE_S
    job |= {"teacher": TeacherConfig(**job["teacher"]), "generation": GenerationConfig(**job["generation"])}
    try:
        report = generate_targets(**job)
    except PhregError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"made": report.made, "reused": report.reused, "failed": report.failed}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
