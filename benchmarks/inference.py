"""`python -m benchmarks inference`: what registers cost a user, beside the original network.

Both sides take turns on the same images, so that other work on the machine meets both; the ratio is the
median over turns. Memory goes by parameters and tokens.
"""

import argparse
import statistics
import time
from collections.abc import Iterable

import torch

from phreg import add_registers, load_backbone
from phreg.models import Backbone
from phreg.report.markdown import markdown_table


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks inference", description=__doc__)
    parser.add_argument(
        "--model", default="phreg/small-clip", help="as in a config's teacher.model (%(default)s)"
    )
    parser.add_argument("--image-size", type=int, default=128, help="pixels (%(default)s)")
    parser.add_argument("--batch", type=int, default=8, help="images per forward pass (%(default)s)")
    parser.add_argument("--registers", type=int, nargs="+", default=[4, 16])
    parser.add_argument("--turns", type=int, default=30, help="forward passes of each (%(default)s)")
    options = parser.parse_args(arguments)
    teacher = load_backbone(options.model, image_size=options.image_size)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    networks = {name: network.to(device) for name, network in beside(teacher, options.registers).items()}
    images = torch.randn(options.batch, 3, options.image_size, options.image_size, device=device)
    seconds = timed(networks, images, options.turns)
    patches = teacher.grid_size[0] * teacher.grid_size[1]
    rows = []
    for name, network in networks.items():
        each = 1000 * statistics.median(seconds[name]) / options.batch
        parameters = sum(parameter.numel() for parameter in network.parameters())
        tokens = network.vit.num_prefix_tokens + patches
        rows.append([name, f"{each:.2f}", f"{ratio(seconds, name):.3f}", f"{parameters:,}", f"{tokens}"])
    print(f"{options.model}, {options.image_size} px, batches of {options.batch}, float32, {device}, "
          f"{torch.get_num_threads()} threads, torch {torch.__version__}\n")  # fmt: skip
    print(markdown_table(["network", "ms per image", "ratio", "parameters", "tokens"], rows))
    print(f"ratio: {ratio(seconds, rows[-1][0]):.3f}")
    return 0


def beside(teacher: Backbone, registers: Iterable[int]) -> dict[str, Backbone]:
    """The network and it with registers, all under its own read-out: some of these cost less than others."""
    more = {f"{n} registers": add_registers(teacher, n, teacher.read_out).eval() for n in registers}
    return {"original": teacher, **more}


@torch.inference_mode()
def timed(networks: dict[str, Backbone], images: torch.Tensor, turns: int) -> dict[str, list[float]]:
    """Seconds of each forward pass, turn by turn; the first turn warms up and does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for turn in range(turns + 1):
        for name, network in networks.items():
            started = time.perf_counter()
            network(images)
            if images.is_cuda:
                torch.cuda.synchronize()
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def ratio(seconds: dict[str, list[float]], name: str) -> float:
    """Of a network to the original, the median over turns."""
    return statistics.median(
        own / first for own, first in zip(seconds[name], seconds["original"], strict=True)
    )
