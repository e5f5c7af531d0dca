"""Two `phreg run` at the same moment, on one cache, one output folder and one registry."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from phreg.config.run import load_config
from phreg.registry import Registry
from phreg.storage import Folder
from tests.faults.ledger import trial
from tests.faults.runs import STUDENT, Moments, Outcome, outcome, tiny_run
from tests.processes import Starter, starter

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),  # several whole runs
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]
GROUP = "Two runs at once"


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    with starter(tmp_path_factory.mktemp("two")) as started:
        yield started


def test_the_same_config_twice(start: Starter, config: Path, undisturbed: Outcome, tmp_path: Path) -> None:
    """Started together, on a Prefect database that neither finds there; and brought together again where it
    is closest: both have made the student, and neither has registered it."""
    output, moments = f"output={tmp_path}/run", Moments(tmp_path / "points")
    home = {"PREFECT_HOME": str(tmp_path / "prefect")}
    together = moments.at("phreg.registry.registration:register", times=2)
    with trial(GROUP, "the same config, started together") as this:
        runs = [
            start.phreg("run", str(config), "--set", output, **moments.environment, **home) for _ in range(2)
        ]
        for run in runs:
            run.until(lambda: len(moments.points.happened(together)) == 2)
        moments.points.release(together)
        assert [run.ends() for run in runs] == [0, 0], "\n".join(run.tail for run in runs)
        this.repeated = moments.shards_again
        assert outcome(config, output) == undisturbed
        assert this.repeated <= sum(len(shards) for shards in undisturbed.cache.values())
        for run in runs:
            run.gone(60)


def test_two_configs_on_one_cache_and_registry(start: Starter, config: Path, tmp_path: Path) -> None:
    """They share the targets of one kind; each has a student of its own, which the gate compares."""
    other = dict(STUDENT, name="other", registers=3)
    second = tiny_run(start.folder / "second", images=load_config(config).images, students=[other])
    moments = Moments(tmp_path / "points")
    shared = [f"cache={tmp_path}/cache", f"registry={tmp_path}/registry"]
    settings = {
        path: [*shared, f"output={tmp_path}/{number}"] for number, path in enumerate((config, second))
    }
    with trial(GROUP, "two configs on one cache and registry") as this:
        runs = [
            start.phreg("run", str(path), "--set", *overrides, **moments.environment)
            for path, overrides in settings.items()
        ]
        assert [run.ends() for run in runs] == [0, 0], "\n".join(run.tail for run in runs)
        this.repeated = moments.shards_again
        one, two = (outcome(path, *overrides) for path, overrides in settings.items())
        assert one.cache == two.cache
        assert len(one.cache) == 1
        check_registry(Registry(Folder(f"{tmp_path}/registry")))
        for run in runs:
            run.gone(60)


def check_registry(registry: Registry) -> None:
    """A version a student, and none holds the alias that was worse than who held it before."""
    entries = {entry.version: entry for entry in registry.entries("tiny")}
    assert sorted(entries) == [1, 2]
    assert sorted(entry.record.student for entry in entries.values()) == ["one", "other"]
    history = registry.history("tiny")
    measures = [entries[held.version].metrics["target_cosine_p50"] for held in history]
    assert measures == sorted(measures)
    for version, entry in entries.items():
        decision = registry.decision(entry)
        assert decision is not None
        assert decision.promoted == (version in [held.version for held in history])
