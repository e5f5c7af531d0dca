"""Students: a teacher's network with register tokens, some of its parameters unlocked."""

import copy
import fnmatch
from collections.abc import Iterable, Sequence

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from phreg.errors import ModelError
from phreg.models.backbone import Backbone

PAPER_UNLOCKED = ("registers", "pos_embed", "patch_embed", "last_block")


class Student(Backbone):
    """A `Backbone` with registers. Everything is frozen until `unlock` says what learns."""

    def unlock(self, names: Iterable[str] = PAPER_UNLOCKED) -> "Student":
        """Let these parameters learn, and no others.

        `names`: `registers`, `pos_embed`, `patch_embed`, `last_block` (the paper's choice), or glob
        patterns of timm's parameter names such as `blocks.10.*`. Raises `ModelError` for a name that
        matches nothing.
        """
        groups = unlock_patterns(self.vit)
        parameters = dict(self.vit.named_parameters())
        chosen: set[str] = set()
        for name in [names] if isinstance(names, str) else names:
            if name == "registers" and self.vit.reg_token is None:
                continue  # a student without registers, for ablations
            found = fnmatch.filter(parameters, groups.get(name, name))
            if not found:
                raise ModelError(
                    f"Nothing to unlock by the name {name!r}",
                    expected=f"one of {', '.join(groups)}, or a pattern of parameter names",
                    found=f"parameters such as {', '.join(list(parameters)[:3])}",
                )
            chosen.update(found)
        if not chosen:
            raise ModelError(
                "Nothing would learn", "some parameters to unlock", "only registers, and there are none"
            )
        for name, parameter in parameters.items():
            parameter.requires_grad_(name in chosen)
        return self


def unlock_patterns(vit: VisionTransformer) -> dict[str, str]:
    return {
        "registers": "reg_token",
        "pos_embed": "pos_embed",
        "patch_embed": "patch_embed.*",
        "last_block": f"blocks.{len(vit.blocks) - 1}.*",
    }


def default_read_out(teacher: Backbone) -> str:
    """A student's read-out as in the paper, whatever the teacher's: `value` (MaskCLIP) for a CLIP, whose
    features are its projection's, and `standard` for any other ViT."""
    return "value" if teacher.projects else "standard"


def add_registers(
    backbone: Backbone, registers: int | None, read_out: str | None = None, seed: int = 0
) -> Student:
    """A student: a copy of the network with `registers` more tokens after the class token.

    `registers=None` adds none: the ablation that learns from clean targets without registers.

    Registers start from N(0, 1/D) (variance; D the network's width) and get no positional embedding
    (paper section 3.3). The class token's positional embedding is folded into the class token, which
    changes nothing in what it computes and gives the layout of timm's `..._reg4_dinov2`.

    `read_out` defaults to `default_read_out`. Raises `ModelError` for fewer than one register.
    """
    if registers is not None and (registers < 1 or registers != int(registers)):
        raise ModelError(
            f"A student with {registers} registers is no student of PH-Reg",
            expected="at least 1 register token (the paper uses 16)",
            remedy="give registers: 1 or more",
        )
    vit = copy.deepcopy(backbone.vit)
    _fold_prefix_positions(vit)
    if registers is not None:
        _append_registers(vit, registers, seed)
    vit.requires_grad_(False)
    mean, std = backbone.mean.tolist(), backbone.std.tolist()
    student = Student(vit, read_out or default_read_out(backbone), mean, std)
    return student.to(backbone.mean.device).eval()


def _append_registers(vit: VisionTransformer, registers: int, seed: int) -> None:
    # PyTorch's own draws: another version may draw otherwise, as it may compute otherwise. What a student is
    # depends on both, and its weights are stored.
    generator = torch.Generator().manual_seed(seed)
    width = vit.embed_dim
    fresh = torch.randn(1, registers, width, generator=generator) * width**-0.5
    old = [] if vit.reg_token is None else [vit.reg_token.detach()]
    vit.reg_token = nn.Parameter(torch.cat([*old, fresh.to(vit.patch_embed.proj.weight)], 1))
    vit.num_reg_tokens += registers
    vit.num_prefix_tokens += registers


def _fold_prefix_positions(vit: VisionTransformer) -> None:
    """Add the prefix tokens' positional embedding to the tokens themselves, once and for all."""
    if vit.pos_embed is None or vit.no_embed_class:
        vit.no_embed_class = True
        return
    places: Sequence[torch.Tensor] = vit.pos_embed.detach().split(
        [int(vit.has_class_token), vit.num_reg_tokens, vit.pos_embed.shape[1] - vit.num_prefix_tokens], dim=1
    )
    if vit.cls_token is not None:
        vit.cls_token = nn.Parameter(vit.cls_token.detach() + places[0])
    if vit.reg_token is not None:
        vit.reg_token = nn.Parameter(vit.reg_token.detach() + places[1])
    vit.pos_embed = nn.Parameter(places[2].clone())
    vit.no_embed_class = True
