import json
import pickle
from pathlib import Path

import numpy as np
import open_clip
import pytest
import safetensors.torch
import timm
import torch

from phreg.errors import CheckpointError, ModelError, ObjectNotFoundError
from phreg.models import hub_files, load_backbone
from phreg.models.weight_files import parse_state_dict
from phreg.storage import Folder
from tests.helpers import tiny_clip, tiny_dinov2

TINY = "vit_tiny_patch16_224"


@pytest.fixture(scope="module")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    safetensors.torch.save_file(timm.create_model(TINY).state_dict(), path)
    return path


def test_timm_by_name_with_a_checkpoint(tiny_checkpoint: Path) -> None:
    backbone = load_backbone(f"timm/{TINY}", checkpoint=str(tiny_checkpoint))
    stock = timm.create_model(TINY, checkpoint_path=str(tiny_checkpoint)).eval()
    images = torch.randn(1, 3, 224, 224)
    features = backbone(images).flatten(2).transpose(1, 2)
    torch.testing.assert_close(features, stock.forward_features(images)[:, 1:], rtol=0, atol=1e-5)
    assert (backbone.patch_size, backbone.grid_size, backbone.out_dim) == (16, (14, 14), 192)
    assert backbone.mean.tolist() == pytest.approx(stock.pretrained_cfg["mean"])
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def test_checkpoint_in_a_bucket(tiny_checkpoint: Path, s3_folder: Folder) -> None:
    s3_folder.write("tiny.safetensors", tiny_checkpoint.read_bytes())
    far = load_backbone(f"timm/{TINY}", checkpoint=s3_folder.url_of("tiny.safetensors"))
    assert far.weights_digest() == load_backbone(f"timm/{TINY}", str(tiny_checkpoint)).weights_digest()


def test_open_clip_tower_and_projection(tmp_path: Path) -> None:
    """The class token through our tower is open_clip's own image embedding."""
    config = {
        "embed_dim": 24,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
        "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1},
    }
    (tmp_path / "phreg-test-clip.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path)
    torch.manual_seed(0)
    clip = open_clip.create_model("phreg-test-clip").eval()
    torch.save({"state_dict": clip.state_dict()}, tmp_path / "clip.pt")
    backbone = load_backbone("open_clip/phreg-test-clip", checkpoint=str(tmp_path / "clip.pt"))
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(backbone.vit(images), clip.encode_image(images), rtol=0, atol=1e-5)
    assert backbone.out_dim == 24
    assert backbone.mean.tolist() == pytest.approx(open_clip.OPENAI_DATASET_MEAN)


def test_given_model_is_left_as_it_is() -> None:
    vit = tiny_dinov2()
    backbone = load_backbone(vit, image_size=96)
    assert backbone.image_size == (96, 96)
    assert vit.patch_embed.img_size == (64, 64)
    assert vit.pos_embed.requires_grad
    assert backbone.weights_digest() == load_backbone(vit).weights_digest()


def test_resampled_at_load_equals_resampled_on_the_way() -> None:
    images = torch.randn(1, 3, 96, 80)
    vit = tiny_clip()
    at_load, on_the_way = load_backbone(vit, image_size=(96, 80)), load_backbone(vit)
    torch.testing.assert_close(at_load(images), on_the_way(images), rtol=0, atol=1e-6)


def test_local_dir_round_trip(tmp_path: Path) -> None:
    backbone = load_backbone(tiny_clip(), read_out="naclip")
    for name, data in hub_files(backbone).items():
        (tmp_path / name).write_bytes(data)
    again = load_backbone(f"local-dir:{tmp_path}", read_out="naclip")
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(again(images), backbone(images))
    assert again.weights_digest() == backbone.weights_digest()


def test_normalize() -> None:
    backbone = load_backbone(tiny_dinov2(), mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 1.0))
    white = torch.full((1, 8, 8, 3), 255, dtype=torch.uint8)
    assert backbone.normalize(white)[0, :, 0, 0].tolist() == pytest.approx([1.0, 3.0, 1.0])


def test_classifier_of_a_plain_vit_is_not_a_projection() -> None:
    assert load_backbone(tiny_dinov2(num_classes=10)).out_dim == 32
    assert load_backbone(tiny_clip()).out_dim == 16


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet", "Cannot tell what model"),
        ("timm/no_such_vit", "timm has no model"),
        ("phreg/small-clp", "did you mean phreg/small-clip"),
        ("vit_small_patch14_dinov2", "did you mean timm/vit_small_patch14_dinov2"),
        ("vit_small_patch14_dinov2.lvd142m", r"did you mean timm/vit_small_patch14_dinov2\.lvd142m"),
        ("ViT-B-16:openai", "did you mean open_clip/ViT-B-16:openai"),
        ("timm/vit_smal_patch14_dinov2", "did you mean .'vit_small_patch14_dinov2'"),
        ("timm/vit_small_patch14_dinov2.lvd142", r"one of \['lvd142m'\](?s:.)*did you mean timm/.*lvd142m"),
        ("timm/vit_tiny_patch16_224.nothing", r"one of \['augreg_in21k_ft_in1k'"),
        ("timm/resnet18", "no plain ViT"),
        ("open_clip/no-such-clip", "open_clip has no model"),
        ("open_clip/ViT-B16:openai", "did you mean .*'ViT-B-16'"),
        ("open_clip/ViT-B-32:no_such_tag", "no weights 'no_such_tag'"),
        ("open_clip/ViT-B-32", "has no weights"),
        ("open_clip/RN50", "no plain ViT"),
    ],
)
def test_impossible_names(name: str, message: str, tiny_checkpoint: Path) -> None:
    needs_no_weights = "RN50" in name or "resnet18" in name
    with pytest.raises(ModelError, match=message):
        load_backbone(name, checkpoint=str(tiny_checkpoint) if needs_no_weights else None)


def test_missing_checkpoint_names_it(tmp_path: Path) -> None:
    with pytest.raises(ObjectNotFoundError, match=r"nothing\.safetensors"):
        load_backbone(f"timm/{TINY}", checkpoint=str(tmp_path / "nothing.safetensors"))


def test_wrong_checkpoints_say_what_differs(tiny_checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match="weights are missing"):
        load_backbone(tiny_dinov2(patch_size=16), checkpoint=str(tiny_checkpoint))
    other = tiny_dinov2(embed_dim=64)
    with pytest.raises(CheckpointError, match=r"the model has \(1, 1, 64\)"):
        parse_and_load(other, tiny_dinov2().state_dict())


def parse_and_load(vit: torch.nn.Module, state: dict) -> None:
    from phreg.models.weights import load_weights

    load_weights(vit, state, "memory")


class _Exploit:
    def __reduce__(self) -> tuple:
        return (exec, ("import builtins; builtins.phreg_was_exploited = True",))


@pytest.mark.parametrize("wrap", ["pickle", "torch"])
def test_code_in_checkpoints_is_refused_and_not_run(tmp_path: Path, wrap: str) -> None:
    path = tmp_path / "evil.pt"
    if wrap == "pickle":
        path.write_bytes(pickle.dumps({"weight": _Exploit()}))
    else:
        torch.save({"weight": _Exploit()}, path)
    with pytest.raises(CheckpointError, match="runs no code"):
        load_backbone(tiny_dinov2(), checkpoint=str(path))
    import builtins

    assert not hasattr(builtins, "phreg_was_exploited")


@pytest.mark.parametrize("data", [b"", b"not weights", b"\x10\0\0\0\0\0\0\0{broken", np.arange(99).tobytes()])
def test_rubbish_is_refused(data: bytes) -> None:
    with pytest.raises(CheckpointError):
        parse_state_dict(data, "rubbish")


def test_unknown_read_out() -> None:
    with pytest.raises(ModelError, match="standard, value, csa, naclip, qq"):
        load_backbone(tiny_clip(), read_out="maskclip")


@pytest.mark.parametrize("name", ["vit_tiny_r_s16_p8_224", "swin_tiny_patch4_window7_224"])
def test_what_is_no_plain_vit_is_refused(name: str) -> None:
    """A stem of convolutions, and another family: by its name before a download, and as a network."""
    for model in (timm.create_model(name, pretrained=False), f"timm/{name}"):
        with pytest.raises(ModelError, match="no plain ViT"):
            load_backbone(model)


def test_an_unknown_family_names_those_that_work() -> None:
    with pytest.raises(
        ModelError, match=r"VisionTransformer \(CLIP(?s:.)*Eva \(EVA-02(?s:.)*SwinTransformer"
    ):
        load_backbone("timm/swin_tiny_patch4_window7_224")


def test_patches_are_embedded_as_timm_does() -> None:
    """By a matrix product, where timm has a convolution."""
    vit = tiny_dinov2()
    backbone = load_backbone(vit)
    images = torch.randn(2, 3, 64, 32)
    expected = vit.patch_embed.proj(images).permute(0, 2, 3, 1)
    torch.testing.assert_close(backbone.embed(images), expected, rtol=0, atol=1e-5)


def test_image_size_that_the_patch_does_not_divide() -> None:
    with pytest.raises(ModelError, match="use for instance 96 or 104"):
        load_backbone(tiny_dinov2(), image_size=100)


def test_clip_checkpoint_without_its_projection() -> None:
    state = tiny_clip().state_dict()
    headless = {name: tensor for name, tensor in state.items() if not name.startswith("head.")}
    with pytest.raises(CheckpointError, match=r"head\.weight"):
        parse_and_load(tiny_clip(), headless)


def test_other_epsilon_is_another_architecture() -> None:
    """Same shapes, same weights, other features: the target spec must tell them apart."""
    vit = tiny_dinov2()
    before = load_backbone(vit).architecture
    for module in vit.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-5
    assert load_backbone(vit).architecture != before


@pytest.mark.parametrize("kind", [np.array, torch.tensor, tuple])
def test_normalisation_may_be_any_three_numbers(kind: type) -> None:
    backbone = load_backbone(tiny_dinov2(), mean=kind([0.1, 0.2, 0.3]), std=kind([0.5, 0.5, 0.5]))
    assert backbone.mean.tolist() == pytest.approx([0.1, 0.2, 0.3])
    for bad in ([0.5, 0.5], [0.5, 0.5, 0.0], [0.5, 0.5, float("nan")]):
        with pytest.raises(ModelError, match="std"):
            load_backbone(tiny_dinov2(), std=kind(bad))


def test_weights_for_another_patch_size() -> None:
    with pytest.raises(CheckpointError, match="8 x 8 pixels"):
        parse_and_load(tiny_dinov2(), tiny_dinov2(patch_size=16).state_dict())


def test_a_clip_tower_takes_its_projection_from_the_weights() -> None:
    vit = tiny_clip(num_classes=0)
    parse_and_load(vit, tiny_clip().state_dict())
    assert load_backbone(vit).out_dim == 16
