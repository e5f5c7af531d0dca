"""Progress within a shard, as a user sees it: in the terminal, and in Prefect's log."""

import contextlib
import re
import signal
import sqlite3
from pathlib import Path

from tests.faults.failpoints import Failpoints
from tests.helpers import write_shard
from tests.processes import starter
from tests.small_run import write_config

IMAGES = 12
WITHIN = re.compile(
    r"targets denoised: \d/2 shards, [1-9]\d* of (about )?\d+ images, \d\S* images/s, \S+ left"
)


def test_images_are_told_while_one_big_shard_is_made(tmp_path: Path) -> None:
    """The teacher stops in the middle of the shard; nothing that comes after it can be what is told."""
    write_shard(tmp_path / "shards" / "tiny-000.tar", n=IMAGES)
    write_shard(tmp_path / "shards" / "tiny-002.tar", n=1)
    path = write_config(tmp_path, images=f"{tmp_path}/shards/tiny-000.tar")
    points = Failpoints(tmp_path / "points")
    points.add("phreg.method.average:_mean", "hold", call=IMAGES // 2)
    with starter(tmp_path, **points.environment()) as start:
        run = start.phreg("run", str(path))
        run.until(lambda: WITHIN.search(run.text) is not None)
        run.until(lambda: any(map(WITHIN.search, prefect_log(tmp_path / "prefect"))), 60)
        run.interrupt(signal.SIGINT)
        assert run.ends(120) == 130, run.tail


def prefect_log(home: Path) -> list[str]:
    """The messages in the database of Prefect's server."""
    with contextlib.closing(sqlite3.connect(f"file:{home}/prefect.db?mode=ro", uri=True)) as database:
        return [message for (message,) in database.execute("SELECT message FROM log")]
