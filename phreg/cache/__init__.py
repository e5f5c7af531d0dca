"""The target cache: denoised features of crops, committed a shard at a time, checked whenever read."""

from phreg.cache.catalog import Cache, SpecSummary, open_cache
from phreg.cache.encodings import EncodedFeatures, encoded_bytes
from phreg.cache.estimate import bytes_while_reading, estimated_bytes, estimated_objects
from phreg.cache.garbage import GcReport, collect_garbage
from phreg.cache.records import CommitRecord
from phreg.cache.removal import Removal, remove_spec
from phreg.cache.rows import TargetRows
from phreg.cache.spec import TargetSpec, TeacherIdentity
from phreg.cache.store import TargetStore
from phreg.cache.verify import VerifyReport, verify

__all__ = [
    "Cache",
    "CommitRecord",
    "EncodedFeatures",
    "GcReport",
    "Removal",
    "SpecSummary",
    "TargetRows",
    "TargetSpec",
    "TargetStore",
    "TeacherIdentity",
    "VerifyReport",
    "bytes_while_reading",
    "collect_garbage",
    "encoded_bytes",
    "estimated_bytes",
    "estimated_objects",
    "open_cache",
    "remove_spec",
    "verify",
]
