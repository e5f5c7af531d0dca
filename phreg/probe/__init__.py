"""Linear probes on frozen dense features: segmentation and depth, as DINOv2 does them.

Images are resized to one square, seen once, and their features kept; a probe is then batch norm and one
linear map, trained in minutes on CPU for small sets. One scale: no multi-scale or sliding-window
prediction, no flips, no augmentation, all of which would mean new features.
"""

from phreg.probe.data import ProbeData
from phreg.probe.depth import probe_depth, score_depth, train_depth_probe
from phreg.probe.depth_scores import DepthScores
from phreg.probe.extract import extract_features
from phreg.probe.heads import DepthHead, LinearHead
from phreg.probe.segmentation import (
    SegmentationProbeScores,
    probe_segmentation,
    score_segmentation,
    train_segmentation_probe,
)

__all__ = [
    "DepthHead",
    "DepthScores",
    "LinearHead",
    "ProbeData",
    "SegmentationProbeScores",
    "extract_features",
    "probe_depth",
    "probe_segmentation",
    "score_depth",
    "score_segmentation",
    "train_depth_probe",
    "train_segmentation_probe",
]
