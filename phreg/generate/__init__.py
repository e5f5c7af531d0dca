"""Target generation for one shard, without Ray: samples to crops to denoised features to a commit."""

from phreg.generate.crops import Crop, crops_of
from phreg.generate.generator import TargetGenerator
from phreg.generate.progress import GeneratorProgress, ShardProgress
from phreg.generate.quarantine import check_quarantined
from phreg.generate.report import ShardReport, TargetsReport
from phreg.generate.reused import reused_shards
from phreg.generate.spec import check_teacher, target_spec
from phreg.generate.teacher import compute_targets

__all__ = [
    "Crop",
    "GeneratorProgress",
    "ShardProgress",
    "ShardReport",
    "TargetGenerator",
    "TargetsReport",
    "check_quarantined",
    "check_teacher",
    "compute_targets",
    "crops_of",
    "reused_shards",
    "target_spec",
]
