"""Checkpoints as training codes write them, each holding the weights of one tiny network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from phreg.config.run import TeacherConfig
from phreg.errors import CheckpointError
from phreg.models import load_backbone, load_teacher
from phreg.models.checkpoint_parts import image_part
from tests.helpers import tiny_clip, tiny_dinov2

Weights = dict[str, Tensor]


def weights(seed: int = 0) -> Weights:
    return tiny_dinov2(seed=seed).state_dict()


def under(prefix: str, state: Weights) -> Weights:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def heads(prefix: str = "") -> Weights:
    return under(
        prefix, {"dino_head.mlp.0.weight": torch.zeros(8, 32), "ibot_head.last_layer.v": torch.ones(8)}
    )


def chunked(state: Weights, size: int, numbered_through: bool) -> Weights:
    """Blocks as FSDP keeps them: `blocks.CHUNK.BLOCK`, BLOCK counted through (DINOv2) or in its chunk."""

    def name_of(name: str) -> str:
        parts = name.split(".")
        if parts[0] != "blocks":
            return name
        block = int(parts[1])
        inner = block if numbered_through else block % size
        return ".".join(["blocks", str(block // size), str(inner), *parts[2:]])

    return {name_of(name): tensor for name, tensor in state.items()}


ONE_NETWORK: dict[str, Callable[[Weights], Any]] = {
    "as it is": lambda w: w,
    "model": lambda w: {"model": w, "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}}, "epoch": 3},
    "state_dict": lambda w: {"state_dict": w, "best_acc": 0.9},
    "nested thrice": lambda w: {"model": {"state_dict": {"net": w}}},
    "DataParallel": lambda w: under("module.", w),
    "an average of torch's": lambda w: under("module.", w) | {"n_averaged": torch.tensor(5)},
    "torch.compile": lambda w: under("_orig_mod.", w),
    "compiled and distributed": lambda w: {"model": under("module._orig_mod.", w)},
    "Lightning": lambda w: {
        "state_dict": under("model.", w) | {"criterion.weight": torch.zeros(3)},
        "pytorch-lightning_version": "2.5",
        "hyper_parameters": {"lr": 1e-4},
    },
    "DeepSpeed": lambda w: {"module": under("backbone.", w), "dp_world_size": 8, "buffer_names": []},
    "DINOv2's teacher_checkpoint": lambda w: {"teacher": under("backbone.", w) | heads()},
    "DINOv2 under model": lambda w: {
        "model": under("teacher.backbone.", w) | heads("teacher."),
        "iteration": 9,
    },
    "DINO": lambda w: {"teacher": under("module.backbone.", w) | {"module.head.mlp.0.bias": torch.zeros(4)}},
    "one chunk": lambda w: {"teacher": under("backbone.", chunked(w, 2, numbered_through=True))},
    "chunks counted through": lambda w: under("backbone.", chunked(w, 1, numbered_through=True)),
    "chunks counted anew": lambda w: under("backbone.", chunked(w, 1, numbered_through=False)),
    "checkpointed blocks": lambda w: {
        k.replace("blocks.1.", "blocks.1._fsdp_wrapped_module."): v for k, v in w.items()
    },
    "encoder": lambda w: under("encoder.", w) | under("decoder.", {"up.weight": torch.zeros(2, 2)}),
    "MAE": lambda w: {
        "model": w | {"mask_token": torch.zeros(1, 1, 16), "decoder_pos_embed": torch.zeros(1, 65, 16)}
    },
    "visual": lambda w: under("visual.", w) | {"logit_scale": torch.tensor(4.6)},
    "in a Sequential": lambda w: (
        under("0.", w) | {"1.weight": torch.zeros(10, 32), "1.bias": torch.zeros(10)}
    ),
    "student alone": lambda w: {"student": w},
    "average alone": lambda w: {"model_ema": w},
    "half precision": lambda w: {name: tensor.half() for name, tensor in w.items()},
    "bfloat16": lambda w: {name: tensor.bfloat16() for name, tensor in w.items()},
}


@pytest.mark.parametrize("name", ONE_NETWORK)
def test_one_network_is_found(name: str, tmp_path: Path) -> None:
    path = str(tmp_path / "checkpoint.pth")
    torch.save(ONE_NETWORK[name](weights()), path)
    loaded = load_backbone(tiny_dinov2(seed=1), path).vit.state_dict()
    atol = 0.02 if name in ("half precision", "bfloat16") else 0
    for key, tensor in weights().items():
        assert loaded[key].dtype == torch.float32
        torch.testing.assert_close(loaded[key], tensor, rtol=0, atol=atol)


SEVERAL = {
    "teacher and student": {
        "teacher": under("backbone.", weights(1)),
        "student": under("backbone.", weights(2)),
    },
    "in one dict": {"model": under("student.backbone.", weights(2)) | under("teacher.backbone.", weights(1))},
}


@pytest.mark.parametrize("state", SEVERAL.values(), ids=SEVERAL)
@pytest.mark.parametrize("key", ["teacher.backbone", "teacher"])
def test_of_several_networks_one_is_chosen(state: dict[str, Any], key: str, tmp_path: Path) -> None:
    path = str(tmp_path / "checkpoint.pth")
    torch.save(state, path)
    with pytest.raises(
        CheckpointError, match=r"2 networks(?s:.)*student\.backbone(?s:.)*checkpoint_key: .*teacher"
    ):
        load_backbone(tiny_dinov2(), path)
    loaded = load_backbone(tiny_dinov2(), path, checkpoint_key=key).vit.state_dict()
    assert torch.equal(loaded["cls_token"], weights(1)["cls_token"])
    with pytest.raises(CheckpointError, match=r"'ema' names no network(?s:.)*teacher\.backbone"):
        load_backbone(tiny_dinov2(), path, checkpoint_key="ema")


def test_a_key_that_names_two(tmp_path: Path) -> None:
    state = SEVERAL["in one dict"]
    with pytest.raises(CheckpointError, match="'backbone' names 2 networks"):
        image_part(state, "here", "backbone")


def test_the_average_beside_the_weights_is_not_passed_over(tmp_path: Path) -> None:
    path = str(tmp_path / "checkpoint.pth")
    torch.save({"model": weights(1), "model_ema": weights(2)}, path)
    with pytest.raises(CheckpointError, match="model, model_ema"):
        load_backbone(tiny_dinov2(), path)
    config = TeacherConfig(model="phreg/small-clip", checkpoint=path, checkpoint_key="model_ema")
    with pytest.raises(CheckpointError, match="fit"):  # the key was taken; the network is another
        load_teacher(config)


def test_no_network_names_what_is_there(tmp_path: Path) -> None:
    path = str(tmp_path / "checkpoint.pth")
    torch.save({"epoch": 3, "model": {"layer1.0.weight": torch.zeros(2)}}, path)
    with pytest.raises(
        CheckpointError, match=r"no ViT(?s:.)*epoch \(int\), model \(1 entries.*layer1\.0\.weight"
    ):
        load_backbone(tiny_dinov2(), path)


def test_the_image_tower_of_a_clip_alone(tmp_path: Path) -> None:
    """As `clip.visual.state_dict()` has it."""
    clip = tiny_clip()
    bare: Weights = {"proj": clip.head.weight.T.contiguous()}
    renamed = [("patch_embed.proj", "conv1"), ("norm_pre", "ln_pre"), ("blocks.", "transformer.resblocks.")]
    for name, tensor in clip.state_dict().items():
        for ours, theirs in [
            *renamed,
            ("mlp.fc1", "mlp.c_fc"),
            ("mlp.fc2", "mlp.c_proj"),
            ("attn.proj", "attn.out_proj"),
        ]:
            name = name.replace(ours, theirs)
        name = (
            name.replace("attn.qkv.", "attn.in_proj_").replace(".norm1", ".ln_1").replace(".norm2", ".ln_2")
        )
        bare[name.replace("norm.", "ln_post.")] = tensor
    bare["positional_embedding"] = bare.pop("pos_embed")[0]
    bare["class_embedding"] = bare.pop("cls_token")[0, 0]
    bare = {name: tensor for name, tensor in bare.items() if not name.startswith("head.")}
    for state in (bare, {"visual": bare}, under("model.visual.", bare)):
        torch.save(state, tmp_path / "clip.pt")
        loaded = load_backbone(tiny_clip(seed=1), str(tmp_path / "clip.pt"), head="projection").vit
        assert torch.equal(loaded.blocks[1].attn.qkv.weight, clip.blocks[1].attn.qkv.weight)
        assert torch.equal(loaded.head.weight, clip.head.weight)
