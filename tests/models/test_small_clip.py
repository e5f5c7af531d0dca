"""The CLIP that ships with the package: what its model card says of it."""

import json
from importlib.resources import files

import numpy as np
import torch

from phreg.demo.world.classes import CLASSES
from phreg.demo.world.scenes import draw_scene
from phreg.evaluate.scores import ConfusionMatrix
from phreg.evaluate.segment import Segmenter, class_embeddings
from phreg.method.denoising import denoise
from phreg.method.views import sample_views
from phreg.models import load_backbone, load_text

FOLDER = files("phreg.models") / "small_clip"
SCENES = [draw_scene(2, 1000 + i) for i in range(16)]  # of the world that was held out


def test_it_knows_its_classes_by_their_patches() -> None:
    """At twice the size it was trained at, the values of the patches name held-out scenes."""
    text, backbone = load_text("phreg/small-clip"), load_backbone("phreg/small-clip", None, 128, "value")
    names = class_embeddings(text, CLASSES)
    segmenter, matrix = Segmenter(backbone, *names, len(CLASSES)), ConfusionMatrix(len(CLASSES))
    for scene, found in zip(
        SCENES, segmenter.predict_batch(np.stack([s.image for s in SCENES])), strict=True
    ):
        matrix.add(found, scene.labels)
    assert matrix.mean_iou > 0.45


def test_it_is_small_and_says_how_it_was_made() -> None:
    assert len((FOLDER / "open_clip_model.safetensors").read_bytes()) < 20e6
    backbone = load_backbone("phreg/small-clip")
    assert 1e6 < sum(p.numel() for p in backbone.vit.parameters()) < 3e6
    assert (backbone.patch_size, backbone.image_size) == (8, (64, 64))
    assert backbone.vit.num_prefix_tokens == 1  # a plain ViT with a class token
    record = json.loads((FOLDER / "training.json").read_text())
    assert len(record["loss"]) == record["options"]["steps"]
    last = record["looks"][-1]
    card = (FOLDER / "README.md").read_text()
    assert f"{last['miou_value']:.3f}" in card
    assert f"{last['image_to_text']:.2f}" in card


def test_averaging_views_changes_its_features() -> None:
    backbone = load_backbone("phreg/small-clip", image_size=128, read_out="naclip")
    images = backbone.normalize(torch.from_numpy(np.stack([s.image for s in SCENES[:2]])))
    cosine = torch.cosine_similarity(
        backbone(images), denoise(backbone, images, sample_views(16, seed=0)), dim=1
    )
    assert cosine.min() < 0.99
