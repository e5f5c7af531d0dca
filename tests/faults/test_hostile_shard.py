"""A shard with every hostile image in it: a run ends, and just the bad ones are on its quarantine list."""

import re
from pathlib import Path

import pytest

from phreg.cache import open_cache
from phreg.data import read_shard
from tests.faults.hostile import CASES
from tests.faults.ledger import trial
from tests.flows.test_run import phreg_command
from tests.generate.worlds import make_world
from tests.helpers import write_tar
from tests.small_run import write_config

IMAGES = [case for case in CASES if case.kind == "image"]
KEYS = {f"{number:03d}": case for number, case in enumerate(IMAGES)}
BAD = {key: case for key, case in KEYS.items() if case.comes == "quarantined"}


def hostile_shard(path: Path, folder: Path) -> Path:
    folder.mkdir()
    members = [(f"{key}.jpg", Path(str(case.make(folder))).read_bytes()) for key, case in KEYS.items()]
    return write_tar(path, members)


def check(quarantined: list[tuple[str, str]]) -> None:
    """Just the bad ones, each with the reason that its case is to have."""
    assert [key for key, _ in quarantined] == sorted(BAD)
    assert all(re.search(BAD[key].says, reason) for key, reason in quarantined)


@pytest.mark.filterwarnings("ignore")
def test_targets_of_a_shard_of_hostile_images(tmp_path: Path) -> None:
    with trial("hostile and broken input, each try another case", "all images in one shard"):
        url = str(hostile_shard(tmp_path / "odd-0.tar", tmp_path / "images"))
        assert len(read_shard(url).samples) == len(IMAGES)
        world = make_world(tmp_path)
        report = world.generator(decode_threads=2).generate(url)
        check([tuple(sample) for sample in report.quarantined])
        assert report.images == len(IMAGES) - len(BAD)
        assert list(world.store.read("odd-0").keys) == [key for key in KEYS if key not in BAD]


@pytest.mark.slow
def test_a_run_over_hostile_images(tmp_path: Path) -> None:
    """First beyond the limit, with a summary of it; then within, to a registered student."""
    with trial("hostile and broken input, each try another case", "a whole run over them") as this:
        path = write_config(tmp_path, max_quarantined=0.5)
        hostile_shard(tmp_path / "shards" / "tiny-001.tar", tmp_path / "images")
        refused = phreg_command("run", str(path), "--set", "max_quarantined=0.01", home=tmp_path)
        assert refused.returncode == 1
        assert f"{len(BAD)} of {len(IMAGES) + 8} samples cannot be used" in refused.stderr
        assert re.search(r"\d+ x not an image in a known format", refused.stderr)
        assert "tiny-001: " in refused.stderr
        assert "raise max_quarantined" in refused.stderr
        this.rerun = True
        run = phreg_command("run", str(path), home=tmp_path)
        assert run.returncode == 0, run.stderr[-3000:]
        assert f"3 reused, {len(BAD)} samples quarantined" in run.stdout
        listed = phreg_command("cache", "quarantined", f"{tmp_path}/run/cache", home=tmp_path)
        lines = [line.split("\t") for line in listed.stdout.splitlines()]
        assert {line[1] for line in lines} == {"tiny-001"}
        check([(line[2], line[3]) for line in lines])
        (digest,) = open_cache(f"{tmp_path}/run/cache").digests()
        assert {line[0] for line in lines} == {digest[:12]}
