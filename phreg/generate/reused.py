"""Shards whose targets are there already, as records and stores tell: no shard is read, nothing is made."""

import time
from collections.abc import Sequence

from phreg.cache import TargetStore
from phreg.cache.parallel import in_parallel
from phreg.data import shard_name
from phreg.errors import PhregError
from phreg.generate.report import ShardReport, shard_report
from phreg.progress import tell
from phreg.storage import version_of


def reused_shards(store: TargetStore, urls: Sequence[str]) -> dict[str, ShardReport]:
    """Of these shards those that are committed and unchanged since, by URL.

    Not those whose store does not tell whether they changed, nor those of which anything is wrong: whoever
    makes targets looks closer.
    """
    committed = set(store.shards())
    asked = [url for url in urls if shard_name(url) in committed]

    def told(done: int) -> None:
        tell("looking at the records", done, len(asked), "shards")

    found = in_parallel(lambda url: reused_shard(store, url), asked, told)
    return {report.url: report for report in found if report is not None}


def reused_shard(store: TargetStore, url: str) -> ShardReport | None:
    start = time.perf_counter()
    try:
        record, version = store.record(shard_name(url)), version_of(url)
    except PhregError:
        return None
    if record is None or version is None or record.source != version:
        return None
    seconds = time.perf_counter() - start
    crops = store.spec.crops_per_image
    return shard_report(record, url, crops, reused=True, forward_passes=0, seconds=seconds, damage="")
