"""Students: a teacher's network with register tokens, some of its parameters unlocked."""

import copy
import fnmatch
from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from phreg.errors import ModelError
from phreg.models.backbone import Backbone
from phreg.models.families import Family
from phreg.models.lora import LEARNT, add_low_rank, rank_of

PAPER_UNLOCKED = ("registers", "pos_embed", "patch_embed", "last_block")
# No registers: an ablation. No positions to learn: they are rotary.
_MAY_BE_ABSENT = ("registers", "pos_embed")


class Student(Backbone):
    """A `Backbone` with registers. Everything is frozen until `unlock` says what learns.

    `start`: digest of the network that it started from, if that is not its teacher's.
    """

    start = ""

    def unlock(self, names: Iterable[str] = PAPER_UNLOCKED, seed: int = 0) -> "Student":
        """Let these parameters learn, and no others.

        `names`: `registers`, `pos_embed`, `patch_embed`, `last_block` (the paper's choice), `lora` or
        `lora:RANK` (see `lora.py`; it starts from `seed`), or glob patterns of timm's parameter names such
        as `blocks.10.*`. Raises `ModelError` for a name that matches nothing.
        """
        names = [names] if isinstance(names, str) else list(names)
        ranks = {name: rank for name in names if (rank := rank_of(name)) is not None}
        for rank in ranks.values():
            add_low_rank(self.vit, rank, seed)
        groups = unlock_patterns(self.vit) | dict.fromkeys(ranks, LEARNT)
        parameters = dict(self.vit.named_parameters())
        chosen: set[str] = set()
        for name in names:
            patterns = groups.get(name, (name,))
            found = {own for pattern in patterns for own in fnmatch.filter(parameters, pattern)}
            if not found and name in _MAY_BE_ABSENT:
                continue
            if not found:
                raise ModelError(
                    f"Nothing to unlock by the name {name!r}",
                    expected=f"one of {', '.join(groups)}, lora, or a pattern of parameter names",
                    found=f"parameters such as {', '.join(list(parameters)[:3])}",
                )
            chosen.update(found)
        if not chosen:
            raise ModelError(
                "Nothing would learn",
                expected="some parameters to unlock",
                found=f"none of {', '.join(_MAY_BE_ABSENT)} in this network",
            )
        for name, parameter in parameters.items():
            parameter.requires_grad_(name in chosen)
        return self


def unlock_patterns(vit: Any) -> dict[str, tuple[str, ...]]:
    return {
        "registers": ("reg_token",),
        "pos_embed": ("pos_embed", "rope.freqs"),  # the second where rotation is learnt (RoPE-ViT's `mixed`)
        "patch_embed": ("patch_embed.*",),
        "last_block": (f"blocks.{len(vit.blocks) - 1}.*",),
    }


def default_read_out(teacher: Backbone) -> str:
    """A student's read-out as in the paper, whatever the teacher's: `value` (MaskCLIP) for a CLIP, whose
    features are its projection's, and `standard` for any other ViT, and where there are none to take."""
    takes = teacher.family.is_plain(teacher.vit.blocks[-1])
    return "value" if teacher.projects and takes else "standard"


def add_registers(
    backbone: Backbone, registers: int | None, read_out: str | None = None, seed: int = 0
) -> Student:
    """A student: a copy of the network with `registers` more tokens after the class token and its own.

    `registers=None` adds none: the ablation that learns from clean targets without more registers. Those that
    the network has already can be unlocked all the same.

    Registers start from N(0, 1/D) (variance; D the network's width) and get no positional embedding
    (paper section 3.3). The class token's positional embedding is folded into the class token, which
    changes nothing in what it computes and gives the layout of timm's `..._reg4_dinov2`.

    `read_out` defaults to `default_read_out`. Raises `ModelError` for fewer than one register, and for a
    network that takes none.
    """
    if registers is not None and (registers < 1 or registers != int(registers)):
        raise ModelError(
            f"A student with {registers} registers is no student of PH-Reg",
            expected="at least 1 register token (the paper uses 16)",
            remedy="give registers: 1 or more",
        )
    vit = copy.deepcopy(backbone.vit)
    if registers is not None:
        append_registers(backbone.family, vit, _fresh(registers, vit.embed_dim, seed))
    else:
        _fold_prefix_positions(vit)
    vit.requires_grad_(False)
    mean, std = backbone.mean.tolist(), backbone.std.tolist()
    how = backbone.pos_embed_resize
    student = Student(vit, read_out or default_read_out(backbone), mean, std, pos_embed_resize=how)
    return student.to(backbone.mean.device).eval()


def append_registers(family: Family, vit: Any, tokens: Float[Tensor, "1 n D"]) -> None:
    """These tokens become registers, after those that there are, without positional embedding.

    Raises `ModelError` for a network that takes none.
    """
    if not family.takes_registers:
        raise ModelError(
            f"timm's {family.kind.__name__} has no register tokens, and no place for any",
            expected="a network to whose patches tokens can be added",
            remedy="take another network for the student (students[].model), or registers: none",
        )
    _fold_prefix_positions(vit)
    old = [] if vit.reg_token is None else [vit.reg_token.detach()]
    vit.reg_token = nn.Parameter(torch.cat([*old, tokens.to(vit.patch_embed.proj.weight)], 1))
    family.set_registers(vit, vit.reg_token.shape[1])


def _fresh(registers: int, width: int, seed: int) -> Float[Tensor, "1 n D"]:
    # PyTorch's own draws: another version may draw otherwise, as it may compute otherwise. What a student is
    # depends on both, and its weights are stored.
    generator = torch.Generator().manual_seed(seed)
    tokens: Tensor = torch.randn(1, registers, width, generator=generator) * width**-0.5
    return tokens


def _fold_prefix_positions(vit: Any) -> None:
    """Add the prefix tokens' positional embedding to the tokens themselves, once and for all."""
    if vit.pos_embed is None or vit.no_embed_class:
        vit.no_embed_class = True
        return
    tokens = [token for token in ("cls_token", "reg_token") if getattr(vit, token) is not None]
    lengths = [getattr(vit, token).shape[1] for token in tokens]
    *places, patches = vit.pos_embed.detach().split([*lengths, vit.pos_embed.shape[1] - sum(lengths)], dim=1)
    for token, place in zip(tokens, places, strict=True):
        setattr(vit, token, nn.Parameter(getattr(vit, token).detach() + place))
    vit.pos_embed = nn.Parameter(patches.clone())
    vit.no_embed_class = True
