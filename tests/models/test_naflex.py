"""timm's NaFlexVit becomes a plain ViT at load: the same features of images of its own size."""

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch

from phreg.errors import CheckpointError, ModelError
from phreg.models import Backbone, add_registers, hub_files, load_backbone, load_student
from tests.helpers import randomised

EXACT = {"rtol": 0, "atol": 1e-5}
SMALL = {"embed_dim": 32, "depth": 2, "num_heads": 2, "pos_embed_grid_size": (6, 6)}
NAMES = (
    "naflexvit_base_patch16_gap", "naflexvit_base_patch16_par_gap", "naflexvit_base_patch16_parfac_gap",
    "naflexvit_base_patch16_map", "naflexvit_base_patch16_siglip", "naflexvit_so150m2_patch16_reg1_gap",
    "naflexvit_base_patch16_radio_v3", "naflexvit_huge_patch16_radio_v4",
)  # fmt: skip


def tiny(name: str, seed: int = 0, **changes: Any) -> Any:
    """Positions for 6 x 6 patches, and images of 4 x 4."""
    vit = randomised(lambda: timm.create_model(name, pretrained=False, **(SMALL | changes)), seed)
    vit.pretrained_cfg = dict(vit.pretrained_cfg) | {"input_size": (3, 64, 64)}
    return vit


def features(model: Backbone, images: torch.Tensor) -> torch.Tensor:
    return model(images).flatten(2).transpose(1, 2)


def timms(vit: Any, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return vit.fc_norm(vit.forward_features(images)[:, vit.num_prefix_tokens :])


@pytest.mark.parametrize("name", NAMES)
def test_features_are_timms_own(name: str, tmp_path: Path) -> None:
    vit = tiny(name)
    model, images = load_backbone(vit), torch.randn(2, 3, 64, 64)
    assert model.image_size == (64, 64)
    torch.testing.assert_close(features(model, images), timms(vit, images), **EXACT)
    student = add_registers(model, 2)
    assert student.vit.num_prefix_tokens == vit.num_prefix_tokens + 2
    for file, data in hub_files(student).items():
        (tmp_path / file).write_bytes(data)
    torch.testing.assert_close(load_student(str(tmp_path))(images), student(images))
    timm.create_model(f"local-dir:{tmp_path}", pretrained=True)


def test_a_checkpoint_in_its_own_naming(tmp_path: Path) -> None:
    vit, other = tiny(NAMES[0]), tiny(NAMES[0], seed=1)
    weights = {k: v for k, v in other.state_dict().items() if not k.startswith("head.")}
    safetensors.torch.save_file(weights, tmp_path / "weights.safetensors")
    model, images = load_backbone(vit, str(tmp_path / "weights.safetensors")), torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(features(model, images), timms(other, images), **EXACT)
    del weights["norm.weight" if "norm.weight" in weights else "fc_norm.weight"]
    safetensors.torch.save_file(weights, tmp_path / "weights.safetensors")
    with pytest.raises(CheckpointError, match="1 weights are missing"):
        load_backbone(vit, str(tmp_path / "weights.safetensors"))


def test_rotary_positions_are_refused() -> None:
    with pytest.raises(ModelError, match="rotary positions"):
        load_backbone(tiny(NAMES[0], rope_type="axial", embed_dim=64))
