"""The depth probe: trained and scored as DINOv2's "lin. 1". One scale, no flips, no sliding windows."""

from functools import partial

import torch

from phreg.config.labels import ProbeConfig
from phreg.evaluate.datasets.base import LabelledSet
from phreg.evaluate.probe.data import ProbeData, not_all_have
from phreg.evaluate.probe.depth_scores import DepthScores, mean_scores, measure_depth
from phreg.evaluate.probe.eigen import counted_depths
from phreg.evaluate.probe.extract import extract_features
from phreg.evaluate.probe.heads import DepthHead, resize
from phreg.evaluate.probe.losses import sig_log_loss
from phreg.evaluate.probe.progress import TRAINING, OnProgress, stage
from phreg.evaluate.probe.targets import reduced
from phreg.evaluate.probe.training import OnSteps, start_values, train_head
from phreg.method.denoising import Denoising
from phreg.models import Backbone
from phreg.storage import Folder


def train_depth_probe(
    train: ProbeData, config: ProbeConfig, device: str = "cpu", on_progress: OnSteps | None = None
) -> DepthHead:
    """A head that maps features to metres up to `config.max_depth`. Raises `DataError`, `TrainingError`."""
    head = DepthHead(train.features.shape[1], config.max_depth, start_values(config))
    targets = reduced(counted_depths(train), train.features.shape[-2:]).float()
    loss = partial(sig_log_loss, max_depth=config.max_depth)
    train_head(head, train.features, targets, loss, config, device, on_progress)
    return head


def score_depth(head: DepthHead, data: ProbeData) -> DepthScores:
    """Predictions resized to each image's own size, against all depths that count."""
    device, max_depth = head.bins.device, head.bins[-1].item()
    measures = []
    with torch.inference_mode():
        for i, depth in enumerate(counted_depths(data)):
            predicted = head(data.features[i : i + 1].to(device).float())
            image = resize(predicted[None], depth.shape)[0, 0].cpu().numpy()
            measures.append(measure_depth(image, depth, max_depth))
    return mean_scores(measures).model_copy(update={"skipped": data.skipped})


def probe_depth(
    backbone: Backbone,
    train_set: LabelledSet,
    test_set: LabelledSet,
    config: ProbeConfig,
    folder: Folder | None = None,
    device: str = "cpu",
    denoising: Denoising | None = None,
    on_progress: OnProgress | None = None,
) -> DepthScores:
    """Features of both sets, a head trained on the first, its scores on the second.

    Raises `DataError` if one of them has no depth.
    """
    check_have_depth(train_set, test_set)
    extract = partial(
        extract_features, backbone, size=config.image_size, folder=folder, device=device, denoising=denoising
    )
    train = extract(train_set, reduce_depths=True, on_progress=stage(on_progress, "training features"))
    test = extract(test_set, on_progress=stage(on_progress, "test features"))
    head = train_depth_probe(train, config, device, stage(on_progress, TRAINING))
    scores = score_depth(head, test)
    return scores.model_copy(update={"skipped": train.skipped + test.skipped})


def check_have_depth(*labelled_sets: LabelledSet) -> None:
    """Raises `DataError` for a set without depth."""
    for labelled_set in labelled_sets:
        if not labelled_set.has_depth:
            raise not_all_have("depth", labelled_set.name, "a set without any")
