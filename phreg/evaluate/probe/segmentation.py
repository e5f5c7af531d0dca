"""The segmentation probe: trained and scored as DINOv2's linear one. One scale, no sliding windows."""

from functools import partial

import torch
from pydantic import BaseModel, ConfigDict

from phreg.config.labels import ProbeConfig
from phreg.errors import DataError
from phreg.evaluate.datasets.base import LabelledSet
from phreg.evaluate.probe.data import ProbeData
from phreg.evaluate.probe.extract import extract_features
from phreg.evaluate.probe.heads import LinearHead, resize
from phreg.evaluate.probe.losses import segmentation_loss
from phreg.evaluate.probe.progress import TRAINING, OnProgress, stage
from phreg.evaluate.probe.targets import reduced
from phreg.evaluate.probe.training import OnSteps, start_values, train_head
from phreg.evaluate.scores import ConfusionMatrix
from phreg.method.denoising import Denoising
from phreg.models import Backbone
from phreg.storage import Folder
from phreg.types import Quarantined


class SegmentationProbeScores(BaseModel):
    """Scores over all counted pixels of a set, in [0, 1]; None for a class that occurs nowhere.

    `skipped`: images that could not be used, of a whole probe also those it could not be trained on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mean_iou: float
    pixel_accuracy: float
    class_iou: tuple[float | None, ...]
    images: int
    skipped: tuple[Quarantined, ...] = ()


def train_segmentation_probe(
    train: ProbeData,
    classes: int,
    config: ProbeConfig,
    device: str = "cpu",
    on_progress: OnSteps | None = None,
) -> LinearHead:
    """A head that maps features to class logits. Raises `DataError`, `TrainingError`."""
    head = LinearHead(train.features.shape[1], classes, start_values(config))
    targets = reduced(train.labels_of(classes), train.features.shape[-2:])
    train_head(head, train.features, targets, segmentation_loss, config, device, on_progress)
    return head


def score_segmentation(head: LinearHead, data: ProbeData) -> SegmentationProbeScores:
    """The best class of logits resized to each image's own size, against all its labels."""
    device, classes = head.linear.weight.device, head.linear.out_channels
    matrix = ConfusionMatrix(classes)
    with torch.inference_mode():
        for i, labels in enumerate(data.labels_of(classes)):
            logits = resize(head(data.features[i : i + 1].to(device).float()), labels.shape)
            matrix.add(logits[0].argmax(0).cpu().numpy(), labels)
    if not matrix.counts.any():
        raise DataError(f"No pixel of the set {data.name} is labelled with a class")
    return SegmentationProbeScores(
        mean_iou=matrix.mean_iou,
        pixel_accuracy=matrix.pixel_accuracy,
        class_iou=tuple(None if iou != iou else iou for iou in matrix.class_iou.tolist()),
        images=len(data),
        skipped=data.skipped,
    )


def probe_segmentation(
    backbone: Backbone,
    train_set: LabelledSet,
    test_set: LabelledSet,
    config: ProbeConfig,
    folder: Folder | None = None,
    device: str = "cpu",
    denoising: Denoising | None = None,
    on_progress: OnProgress | None = None,
) -> SegmentationProbeScores:
    """Features of both sets, a head trained on the first, its scores on the second.

    Raises `DataError` if the sets do not have the same classes.
    """
    check_same_classes(train_set, test_set)
    extract = partial(
        extract_features, backbone, size=config.image_size, folder=folder, device=device, denoising=denoising
    )
    train = extract(train_set, on_progress=stage(on_progress, "training features"))
    test = extract(test_set, on_progress=stage(on_progress, "test features"))
    classes = len(train_set.classes)
    head = train_segmentation_probe(train, classes, config, device, stage(on_progress, TRAINING))
    scores = score_segmentation(head, test)
    return scores.model_copy(update={"skipped": train.skipped + test.skipped})


def check_same_classes(train_set: LabelledSet, test_set: LabelledSet) -> None:
    """Raises `DataError` unless both sets have the same classes, and some."""
    titles = [[names[0] for names in labelled_set.classes] for labelled_set in (train_set, test_set)]
    if titles[0] != titles[1] or not titles[0]:
        raise DataError(
            f"A probe trained on {train_set.name} cannot be scored on {test_set.name}",
            expected="the same classes in both sets",
            found=f"{titles[0][:5]}... ({len(titles[0])}) and {titles[1][:5]}... ({len(titles[1])})",
        )
