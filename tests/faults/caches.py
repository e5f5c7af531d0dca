"""What a cache holds, for comparing one with another."""

from phreg.cache.catalog import Cache
from phreg.cache.store import TargetStore
from phreg.storage import Folder

Digests = dict[str, dict[str, tuple[str, tuple[str, ...]]]]


def digests(cache: Folder) -> Digests:
    """For each spec and shard: the digest of its data and its keys, every byte read and checked."""
    found: Digests = {}
    for spec in Cache(cache).digests():
        store = TargetStore.open(cache, spec)
        found[spec] = {
            name: (record.data_digest, tuple(store.read_committed(record).keys))
            for name, record in store.records().items()
        }
    return found
