"""A bit flipped in a stored measurement: found on read, named in the log, and measured anew."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from phreg.config.run import EvaluationConfig
from phreg.evaluate import evaluate_model
from phreg.evaluate.probe.features import FeatureMaker
from phreg.evaluate.segment import class_embeddings
from phreg.models.text import load_text
from phreg.pipeline.columns import Found, store_found, stored_scores
from phreg.storage import Folder
from phreg.storage.checksummed import (
    from_checksummed_json,
    from_checksummed_tensors,
    to_checksummed_json,
    to_checksummed_tensors,
)
from tests.evaluate.world import add_shard, make_backbone, make_store
from tests.faults.flips import all_flips, flip
from tests.faults.ledger import trial
from tests.helpers import save_tiny_open_clip


def evaluation(folder: Path) -> Callable[[Folder], object]:
    backbone = make_backbone()
    store = make_store(folder, backbone)
    urls = [add_shard(folder, store, backbone, 0, 2)]
    config = EvaluationConfig(images=2, shifts=2)
    return lambda kept: evaluate_model(backbone, store, urls, config, folder=kept).metrics


def features(folder: Path) -> Callable[[Folder], object]:
    images = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
    return lambda kept: FeatureMaker(make_backbone(), kept).features(images).tolist()


def embeddings(folder: Path) -> Callable[[Folder], object]:
    text = load_text(save_tiny_open_clip(folder / "clip"))
    classes = [("sky",), ("grass", "lawn")]
    return lambda kept: class_embeddings(text, classes, folder=kept).embeddings.tolist()


def scores(_: Path) -> Callable[[Folder], object]:
    def measure(kept: Folder) -> dict[str, float]:
        found = stored_scores(kept, "0" * 64, counted=False)
        if found is None:
            found = {"mIoU": 51.25, "IoU of sky": 73.5}
            store_found(kept, "0" * 64, Found(found))
        return found

    return measure


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("make", [evaluation, features, embeddings, scores])
def test_it_is_measured_anew(
    make: Callable[[Path], Callable[[Folder], object]],
    seed: int,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    measure, kept = make(tmp_path), Folder(str(tmp_path / "kept"))
    with trial("flipped bit", f"stored {make.__name__}", "files") as this:
        truth = measure(kept)
        (item,) = kept.list()
        whole = kept.read(item.path)
        flip(kept, item.path, seed)
        assert measure(kept) == truth
        assert item.path in caplog.text
        this.repeated = 1
        kept.write(item.path, whole)
        caplog.clear()
        assert measure(kept) == truth
        assert not caplog.text


def test_every_bit_of_what_is_sealed_counts() -> None:
    fields = {"metrics": {"mIoU": 51.2, "p": 1e-05}, "names": ["é", "a b"], "none": None}
    for data in all_flips(to_checksummed_json(fields)):
        with contextlib.suppress(ValueError):
            assert from_checksummed_json(data) == fields  # 1E-05
    tensors = {"features": torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)}
    for data in all_flips(to_checksummed_tensors(tensors)):
        try:
            found = from_checksummed_tensors(data)
        except ValueError:
            continue
        assert torch.equal(found["features"], tensors["features"])
