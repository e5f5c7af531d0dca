"""A driver of target generation as a process of its own: `python -m tests.faults.drive JOB.json`.

Prints its report as one JSON line. Exit code 1 and the error's text for a `PhregError`, as `phreg run` does.
"""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phreg.config import GenerationConfig, TeacherConfig
from phreg.errors import PhregError
from phreg.execution import watch
from phreg.execution.targets import generate_targets
from tests.generate.worlds import World

REPOSITORY = Path(__file__).parents[2]


def start(
    folder: Path,
    world: World,
    urls: list[str],
    generation: GenerationConfig,
    *,
    address: str = "local",
    environment: Mapping[str, str] | None = None,
    patience: float | None = None,
) -> subprocess.Popen[str]:
    """Start one; `folder` (made) holds its job. `communicate` with it in the end."""
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
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.drive", str(folder / "job.json")],
        cwd=REPOSITORY,
        env=os.environ | dict(environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def main() -> int:
    job = json.loads(Path(sys.argv[1]).read_text())
    watch.PATIENCE_S = job.pop("patience") or watch.PATIENCE_S
    job |= {"teacher": TeacherConfig(**job["teacher"]), "generation": GenerationConfig(**job["generation"])}
    try:
        report = generate_targets(**job)
    except PhregError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    made = {"made": report.made, "reused": report.reused, "failed": report.failed}
    print(json.dumps(made | {"shards": [dataclasses.asdict(shard) for shard in report.shards]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
