"""Dense features under dynamic int8 on a CPU, and how large the tokens are that have to be rounded.

Matrices of the blocks are int8 with a scale a channel; what they are given is rounded per tensor, as it
comes, to the 7 bits that PyTorch's kernels take. So one token of large norm makes all others coarser, which
is what registers are said to help with (RegCache, arXiv 2510.04547).
"""

import copy
import csv
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.ao import quantization  # deprecated, and still what torch has by itself

from benchmarks.real.ablation import FOLDER, VARIANTS, ablate, student, write
from benchmarks.real.measure import measure
from benchmarks.real.trunk import Trunk
from benchmarks.real.work import HELD_OUT, Work
from phreg.evaluate.look import look
from phreg.models import Backbone, load_teacher

SHIFTS = torch.tensor([[0, 2], [2, 0], [-2, -2]])
LARGEST = 63  # of 7 bits
HEADER = ("network", "images", "cosine mean", "cosine p5", "by token mean", "by token p5", "artifacts %",
          "norm ratio", "block")  # fmt: skip


def quantised(backbone: Backbone) -> Backbone:
    """A copy of it. Embeddings, norms and a projection stay as they are."""
    found, how = copy.deepcopy(backbone), {nn.Linear: quantization.per_channel_dynamic_qconfig}
    found.vit.blocks = quantization.quantize_dynamic(found.vit.blocks, how)
    return found


def rounded_by_token(backbone: Backbone) -> Backbone:
    """A copy whose blocks' matrices are given 7 bits too, but of each token by itself; they stay float32."""
    found = copy.deepcopy(backbone)
    for module in found.vit.blocks.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_pre_hook(_round_tokens)
    return found


def _round_tokens(module: nn.Module, given: tuple[Tensor]) -> Tensor:
    step = given[0].abs().amax(-1, keepdim=True).clamp(min=1e-12) / LARGEST
    return (given[0] / step).round() * step


@torch.no_grad()
def cosines(backbone: Backbone, other: Backbone, images: Tensor) -> Tensor:
    """Of each patch's features in one network to those in the other [N, P]; images one by one."""
    pairs = [(backbone(one[None]), other(one[None])) for one in images]
    return torch.cat([torch.cosine_similarity(*pair, dim=1) for pair in pairs]).flatten(1)


@torch.no_grad()
def write_cosines(networks: Mapping[str, Backbone], images: Tensor, path: Path) -> None:
    """Also what is rounded: artifacts and the largest norm over the median, after the worst block."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        for name, backbone in networks.items():
            found = [cosines(backbone, each(backbone), images) for each in (quantised, rounded_by_token)]
            seen = [look(backbone, one[None], SHIFTS) for one in images]
            rates = torch.cat([one.artifact_rates for one in seen]).mean(0)[:-1]
            ratios = torch.cat([one.norm_ratios for one in seen]).mean(0)[:-1]
            block = int(ratios.argmax())
            numbers = [number for one in found for number in (one.mean(), one.quantile(0.05))]
            shown = [f"{n:.4f}" for n in numbers] + [f"{100 * rates.max():.2f}", f"{ratios[block]:.1f}"]
            writer.writerow([name, len(images), *shown, block + 1])


def quantise_all(work: Work) -> None:
    """Teacher and students, with registers and without; the ablation measures them in float32."""
    ablate(work, 2)
    teacher = work.teacher.model_copy(update={"read_out": "value"})
    networks: dict[str, Backbone] = {"teacher": load_teacher(teacher)}
    networks |= {variant.title: student(work, variant) for variant in VARIANTS[:2]}
    for name, backbone in networks.items():
        trunk = Trunk(quantised(backbone))
        for bench in work.benches:
            measure(f"{name}, int8, read value", trunk.read("value"), bench, work.out / FOLDER)
    write(work)
    path = work.out / "int8-cosines.csv"
    if not path.exists():
        write_cosines(networks, work.photos(work.data / HELD_OUT, 24), path)
