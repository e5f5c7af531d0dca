"""GELU, mean and std of CLIPs whose checkpoint comes without a tag."""

import json
import logging
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor

from phreg.errors import CheckpointError
from phreg.models import load_backbone, load_text
from phreg.models.clip_details import check_timm_gelu, statistics_of, wants_quick_gelu
from tests.helpers import save_tiny_open_clip

HALF = (0.5, 0.5, 0.5)
OPENAI = {"input_resolution": torch.tensor(224), "context_length": torch.tensor(77)}
SIGLIPS = [name for name in open_clip.list_models() if "siglip" in name.lower()]


@pytest.mark.parametrize("name", SIGLIPS)
def test_siglips_images_are_halved_with_and_without_a_tag(name: str) -> None:
    for tag in ("", open_clip.list_pretrained_tags_by_model(name)[0]):
        assert statistics_of(name, tag, open_clip.get_pretrained_cfg(name, tag) or {}, {}) == (HALF, HALF)


@pytest.mark.parametrize(("name", "tag"), open_clip.list_pretrained())
def test_with_a_tag_it_is_the_tags(name: str, tag: str) -> None:
    details = open_clip.get_pretrained_cfg(name, tag)
    mean, std = statistics_of(name, tag, details, {})
    assert mean == tuple(details.get("mean") or open_clip.OPENAI_DATASET_MEAN)
    assert std == tuple(details.get("std") or open_clip.OPENAI_DATASET_STD)


def test_published_weights_that_differ_are_said_to(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "phreg"):
        assert statistics_of("ViT-L-14", "", {}, {})[0] == open_clip.OPENAI_DATASET_MEAN
    assert "open_clip/ViT-L-14:TAG" in caplog.text


def test_a_model_without_published_weights_is_normalised_as_its_tower() -> None:
    assert statistics_of("my-own-clip", "", {}, {"mean": [0.5] * 3, "std": [0.25] * 3})[1] == (0.25,) * 3
    assert statistics_of("my-own-clip", "", {}, {})[0] == open_clip.OPENAI_DATASET_MEAN


def _gelu_for(name: str, tag: str, state: dict[str, Tensor] | None = None) -> bool:
    details = open_clip.get_pretrained_cfg(name, tag) or {} if tag else {}
    return wants_quick_gelu(name, tag, open_clip.get_model_config(name), details, state or {})


def test_every_tag_is_followed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "phreg"):
        for name, tag in open_clip.list_pretrained():
            config = open_clip.get_model_config(name)
            details = open_clip.get_pretrained_cfg(name, tag)
            assert _gelu_for(name, tag) == bool(config.get("quick_gelu") or details.get("quick_gelu"))
    assert not caplog.records


def test_every_name_with_quick_gelu_weights_warns_without_a_tag(caplog: pytest.LogCaptureFixture) -> None:
    quick = [
        (name, tag)
        for name, tag in open_clip.list_pretrained()
        if open_clip.get_pretrained_cfg(name, tag).get("quick_gelu")
        and not open_clip.get_model_config(name).get("quick_gelu")
    ]
    assert len(quick) >= 27
    for name, tag in quick:
        caplog.clear()
        with caplog.at_level(logging.WARNING, "phreg"):
            assert not _gelu_for(name, "")
        assert tag in caplog.text
        assert f"open_clip/{name}:TAG" in caplog.text
    caplog.clear()
    _gelu_for("ViT-B-32", "")
    assert "open_clip/ViT-B-32-quickgelu" in caplog.text


def test_openais_own_file_is_known(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config: dict[str, Any] = {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
        "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    }
    for name, quick in (("phreg-test-plain", False), ("phreg-test-quick", True)):
        (tmp_path / f"{name}.json").write_text(json.dumps(config | {"quick_gelu": quick}))
    open_clip.add_model_config(tmp_path)
    torch.manual_seed(0)
    clip = open_clip.create_model("phreg-test-quick").eval()
    path = str(tmp_path / "openai.pt")
    torch.save(clip.state_dict() | OPENAI, path)
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        embedding = load_backbone("open_clip/phreg-test-plain", path).vit(images)
        torch.testing.assert_close(embedding, clip.encode_image(images), rtol=0, atol=1e-5)
        text = clip.encode_text(open_clip.get_tokenizer("phreg-test-quick")(["a cat"]), normalize=True)
    torch.testing.assert_close(
        load_text("open_clip/phreg-test-plain", path)(["a cat"]), text, atol=1e-5, rtol=0
    )
    assert "QuickGELU" not in caplog.text


def test_openais_own_file_in_a_directory(tmp_path: Path) -> None:
    plain, quick = (save_tiny_open_clip(tmp_path / f"{q}", half=False, quick_gelu=q) for q in (False, True))
    weights = load_state(tmp_path / "True")
    path = str(tmp_path / "openai.pt")
    torch.save(weights | OPENAI, path)
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(load_backbone(plain, path)(images), load_backbone(quick)(images))
    assert not torch.equal(load_backbone(plain)(images), load_backbone(quick)(images))
    assert torch.equal(load_text(plain, path)(["a cat"]), load_text(quick)(["a cat"]))


def load_state(folder: Path) -> dict[str, Tensor]:
    import safetensors.torch

    weights: dict[str, Tensor] = safetensors.torch.load_file(folder / "open_clip_model.safetensors")
    return weights


def test_timms_model_for_the_other_gelu(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(CheckpointError, match="timm/vit_base_patch32_clip_quickgelu_224"):
        check_timm_gelu("vit_base_patch32_clip_224", OPENAI)
    check_timm_gelu("vit_base_patch32_clip_quickgelu_224.openai", OPENAI)
    check_timm_gelu("vit_base_patch32_clip_224.laion2b", {})
    check_timm_gelu("vit_base_patch16_224", OPENAI)
    assert not caplog.records
    check_timm_gelu("vit_base_patch32_clip_224.openai", None)
    assert "timm/vit_base_patch32_clip_quickgelu_224.openai" in caplog.text
