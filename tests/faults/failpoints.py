"""Failpoints: what befalls a named function of phreg in the processes that a test starts.

    points = Failpoints(tmp_path / "points")
    points.note("phreg.generate.generator:TargetGenerator._make", label="shard.name")
    points.add("phreg.data.decode:decode_image", "kill", call=3)      # before phreg is imported there
    subprocess.run(..., env=os.environ | points.environment())        # or start Ray under it
    points.labels("phreg.generate.generator:TargetGenerator._make")  # ["s0", "s1", ...]: every pass

Production code knows nothing of them: `hooks/sitecustomize.py` wraps the functions as their modules are
imported. The plan is a file, read by a process as it imports the module; calls are counted over all
processes, so what happens at a call happens once. A function's passes are written to one file.
"""

import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

HOOKS = Path(__file__).parent / "hooks"
VARIABLE = "PHREG_FAILPOINTS"
COMPUTE = "phreg.generate.generator:TargetGenerator._make"  # a pass a shard, labelled `shard.name`


class Failpoints:
    """The plan in `folder`, which is made. Give processes `environment()`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.clear()

    def environment(self) -> dict[str, str]:
        """PYTHONPATH and the plan's place, over what the environment has."""
        path = os.pathsep.join(p for p in (str(HOOKS), os.environ.get("PYTHONPATH", "")) if p)
        return {"PYTHONPATH": path, VARIABLE: str(self.folder / "plan.json")}

    def clear(self) -> None:
        """No points, no passes, no markers: for one environment through several tests."""
        for path in self.folder.iterdir():
            path.unlink()
        self._write([])

    def note(self, function: str, label: str = "") -> None:
        """Count the passes of `function` ("module:Class.name"). `label`: arguments, or attributes of them,
        that are written down with each ("path", or "shard.name self.spec.digest")."""
        self.add(function, "note", label=label)

    def add(
        self,
        function: str,
        action: str,
        *,
        call: int = 1,
        times: int = 1,
        match: str = "",
        label: str = "",
        when: str = "before",
        error: str = "phreg.errors:StorageError",
        problem: str = "a failpoint",
    ) -> str:
        """At passes `call` to `call + times - 1` whose label contains `match`, do `action`; gives its name.

        "kill": SIGKILL to its own process. "stop": SIGSTOP. "hold": until `release(name)`. "raise":
        `error(problem)`. "note": nothing. One label a function (the first that is given).
        """
        plan = json.loads((self.folder / "plan.json").read_text())
        name = f"{action}{len(plan)}"
        fields: dict[str, Any] = {"function": function, "name": name, "action": action, "call": call}
        fields |= {"times": times, "match": match, "label": label, "when": when}
        self._write([*plan, fields | {"error": error, "problem": problem}])
        return name

    def labels(self, function: str = COMPUTE, pid: int | None = None) -> list[str]:
        """The labels of all passes of a function so far (those of one process), in their order."""
        try:
            lines = (self.folder / "passes").read_text().splitlines()
        except FileNotFoundError:
            return []
        passes = [line.split("\t", 2) for line in lines]
        of_function = [(int(by), label) for passed, by, label in passes if passed == function]
        return [label for by, label in of_function if pid in (None, by)]

    def repeated(self, function: str = COMPUTE) -> int:
        """How many passes were made beyond one for each label."""
        counts = Counter(self.labels(function))
        return sum(counts.values()) - len(counts)

    def happened(self, name: str) -> list[int]:
        """The pids to which it happened."""
        markers = sorted(self.folder.glob(f"{name}.[0-9]*"), key=lambda path: int(path.suffix[1:]))
        return [int(marker.read_text() or 0) for marker in markers]

    def await_(self, name: str, times: int = 1, seconds: float = 120) -> list[int]:
        """Wait until it happened so often; the pids."""
        deadline = time.monotonic() + seconds
        while len(pids := self.happened(name)) < times or not all(pids):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} happened {len(pids)} of {times} times within {seconds:g} s")
            time.sleep(0.02)
        return pids

    def release(self, name: str) -> None:
        """End a hold, for all who are in it."""
        (self.folder / f"{name}.release").touch()

    def _write(self, plan: list[dict[str, Any]]) -> None:
        new = self.folder / "plan.new"
        new.write_text(json.dumps(plan))
        new.replace(self.folder / "plan.json")
