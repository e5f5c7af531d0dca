"""Linear probes on frozen dense features: segmentation and depth, as DINOv2 does them.

Images are resized to one square, seen once, and their features kept; a probe is then batch norm and one
linear map, trained in minutes on CPU for small sets. One scale: no multi-scale or sliding-window
prediction, no flips, no augmentation, all of which would mean new features.
"""

from phreg.evaluate.probe.data import ProbeData
from phreg.evaluate.probe.depth import check_have_depth, probe_depth, score_depth, train_depth_probe
from phreg.evaluate.probe.depth_scores import DepthScores
from phreg.evaluate.probe.extract import extract_features, input_sides
from phreg.evaluate.probe.heads import DepthHead, LinearHead
from phreg.evaluate.probe.progress import TRAINING
from phreg.evaluate.probe.segmentation import (
    SegmentationProbeScores,
    check_same_classes,
    probe_segmentation,
    score_segmentation,
    train_segmentation_probe,
)

__all__ = [
    "TRAINING",
    "DepthHead",
    "DepthScores",
    "LinearHead",
    "ProbeData",
    "SegmentationProbeScores",
    "check_have_depth",
    "check_same_classes",
    "extract_features",
    "input_sides",
    "probe_depth",
    "probe_segmentation",
    "score_depth",
    "score_segmentation",
    "train_depth_probe",
    "train_segmentation_probe",
]
