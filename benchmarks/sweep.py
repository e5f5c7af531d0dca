"""`python -m benchmarks sweep [PATTERN...]`: which of timm's architectures load, and can be students.

Names of `timm.list_models()` (or those that match) are built on the meta device and go through the checks of
`load_backbone` and `add_registers`; modules without plain ViTs are grouped by the reason instead. Prints
Markdown: the table of benchmarks/README.md is what it printed. Some minutes.
"""

import phreg  # noqa: F401  # isort: skip  (first: it lets timm import beside a CPU-only torch)
import argparse
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import timm
import torch

from phreg.errors import ModelError
from phreg.models.architecture import base_architecture, check_stock, vit_arguments
from phreg.models.families import as_plain, family_of
from phreg.models.student import append_registers
from phreg.report.markdown import markdown_table

PLAIN_ELSEWHERE = "a plain stack in a class of its own, without an adapter here"
# timm's modules whose networks are no plain ViTs of a class we know, by the reason.
_REASONS = {
    PLAIN_ELSEWHERE: "deepseek_vit gemma4_vit qwen3_vit",
    "attention of another kind (over channels, gated by position, with class attention at the end)": (
        "cait convit xcit"
    ),
    "windowed attention in a plain stack": "vision_transformer_sam",
    "hybrid: convolutions make the tokens": "vision_transformer_hybrid vitamin",
    "several scales or token sets side by side": "coat crossvit tnt volo",
    "hierarchical, with attention": (
        "cpubone csatv2 davit edgenext efficientformer efficientformer_v2 efficientvit_mit efficientvit_msra "
        "fastvit focalnet gcvit hiera hieradet_sam2 iformer levit lowformer maxxvit metaformer mobilenetv5 "
        "mobilevit mvitv2 nest nextvit pit pvt_v2 repvit shvit swiftformer swin_transformer "
        "swin_transformer_v2 swin_transformer_v2_cr tiny_vit twins visformer"
    ),
    "no attention: mixers of tokens, state spaces, recurrence": (
        "efficientvim mambaout mlp_mixer sequencer"
    ),
    "convolutions": (
        "byoanet byobnet convmixer convnext cspnet cspnext densenet dla dpn efficientnet fasternet ghostnet "
        "hardcorenas hgnet hrnet inception_next inception_resnet_v2 inception_v3 inception_v4 lcnetv2 "
        "mobilenetv3 nasnet nfnet pnasnet rdnet regnet repghost res2net resnest resnet resnetv2 rexnet "
        "selecsls senet sknet starnet tresnet vgg vovnet xception xception_aligned"
    ),
}  # fmt: skip
REASONS = {module: reason for reason, modules in _REASONS.items() for module in modules.split()}


MODULES = {name: module for module in timm.list_modules() for name in timm.list_models(module=module)}
_LOADS = "load"
_TEACHERS = "load, but take no registers"


class Found(NamedTuple):
    """Of one architecture: why it does not load, and why it cannot be a student with registers; empty where
    it can."""

    name: str
    refused: str = ""
    no_student: str = ""

    @property
    def plain(self) -> bool:
        return self.refused in ("", PLAIN_ELSEWHERE)


def sweep(names: Iterable[str]) -> list[Found]:
    return [look(name, REASONS.get(MODULES[name], "")) for name in names]


def look(name: str, reason: str = "") -> Found:
    """`reason`: what its module's networks are, if no plain ViTs; then it is not even built."""
    if reason:
        return Found(name, reason)
    with torch.device("meta"):
        vit = as_plain(timm.create_model(name, pretrained=False))
        try:
            family = family_of(vit, name)
            family.check(vit)
        except ModelError as error:
            return Found(name, error.found)
        try:
            append_registers(family, vit, torch.zeros(1, 4, vit.embed_dim))
            check_stock(vit, base_architecture(vit), vit_arguments(vit))
        except ModelError as error:
            return Found(name, no_student=error.found or error.problem)
    return Found(name)


def as_markdown(found: Sequence[Found]) -> str:
    loads = [one for one in found if not one.refused]
    plain, students = sum(one.plain for one in found), sum(not one.no_student for one in loads)
    groups: dict[str, list[str]] = defaultdict(list)
    for one in found:
        groups[one.refused or (_TEACHERS if one.no_student else _LOADS)].append(one.name)
    first = (_LOADS, _TEACHERS, PLAIN_ELSEWHERE)
    ordered = sorted(groups, key=lambda why: (*(why != one for one in first), -len(groups[why])))
    rows = [(why, str(len(groups[why])), _by_module(groups[why])) for why in ordered]
    return (
        f"Of {len(found)} architectures of timm {timm.__version__}, {plain} are plain stacks of blocks over "
        f"patches: **{len(loads)} of them load ({len(loads) / max(plain, 1):.0%})**, {students} of these can "
        "be students with registers.\n\n"
        + markdown_table(("", "architectures", "timm's modules, and how many of each"), rows)
    )


def _by_module(names: Sequence[str]) -> str:
    return ", ".join(f"`{module}` {n}" for module, n in sorted(Counter(MODULES[n] for n in names).items()))


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks sweep", description=__doc__)
    parser.add_argument(
        "pattern", nargs="*", default=["*"], help="of names, such as 'vit_*_dinov3*'; default: all"
    )
    patterns = parser.parse_args(arguments).pattern
    print(as_markdown(sweep(timm.list_models(patterns))))
    return 0
