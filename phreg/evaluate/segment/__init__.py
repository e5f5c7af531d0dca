"""Open-vocabulary segmentation: dense features and class names to label maps, and their scores."""

from phreg.evaluate.segment.class_names import ClassEmbeddings, check_nameable, class_embeddings
from phreg.evaluate.segment.geometry import check_windows
from phreg.evaluate.segment.pamr import pamr
from phreg.evaluate.segment.segmenter import Segmenter
from phreg.evaluate.segment.whole_set import SegmentationScores, segment_and_count, segment_set

__all__ = [
    "ClassEmbeddings",
    "SegmentationScores",
    "Segmenter",
    "check_nameable",
    "check_windows",
    "class_embeddings",
    "pamr",
    "segment_and_count",
    "segment_set",
]
