"""Which pair of read-outs? Students of every pair, only their last block learning, read in every way.

Everything before the last block is the teacher's, and computed once; registers are left out. What is found
here is confirmed with whole students (`students.py`).
"""

import math
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.real.measure import measure, result_path
from benchmarks.real.protocols import Bench
from benchmarks.real.trunk import SharedBackbone, Trunk
from phreg import distillation_loss
from phreg.cache import TargetStore
from phreg.evaluate import held_out
from phreg.method.schedule import learning_rate
from phreg.seeding import derive_rng
from phreg.storage import Folder

EPOCHS, BATCH, FIRST, LAST = 3, 4, 1e-4, 5e-6
EVERY_IMAGE = 1 << 20


class Crops:
    """Training crops, normalised, and their targets of one read-out."""

    def __init__(self, cache: str, digest: str, shards: Sequence[str], trunk: Trunk) -> None:
        found = held_out(TargetStore.open(Folder(cache), digest), shards, EVERY_IMAGE)
        assert found.targets is not None
        self.images = trunk.backbone.normalize(torch.from_numpy(found.crops))
        self.targets = found.targets


def train(student: SharedBackbone, crops: Crops, targets: Tensor, seed: int = 0) -> float:
    """The paper's loss and optimiser, on the last block. Gives the mean loss of the last epoch."""
    learning = [p for p in student.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=FIRST, weight_decay=1e-2)
    count = len(crops.images)
    per_epoch = math.ceil(count / BATCH)
    total, losses = EPOCHS * per_epoch, []
    for step in range(total):
        if step % per_epoch == 0:
            order = torch.from_numpy(derive_rng(seed, "order", step // per_epoch).permutation(count))
        chosen = order[step % per_epoch * BATCH :][:BATCH]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, total, FIRST, LAST)
        optimizer.zero_grad(set_to_none=True)
        features = student(crops.images[chosen]).flatten(2).transpose(1, 2)
        loss = distillation_loss(targets[chosen], features).total
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in learning if p.grad is not None], 1.0)
        optimizer.step()
        losses.append(loss.item())
    return sum(losses[-per_epoch:]) / per_epoch


def student_of(
    trunk: Trunk, crops: Crops, targets: str, trained: str, out: Path, raw: bool = False
) -> SharedBackbone:
    """A student's last block, trained once."""
    path = out / "students" / f"{targets}{'-raw' if raw else ''}-to-{trained}.pt"
    student = trunk.student(trained)
    block = student.vit.blocks[-1]
    if path.exists():
        block.load_state_dict(torch.load(path, weights_only=True))
        return student
    started = time.monotonic()
    learned = raw_targets(trunk, crops, targets) if raw else crops.targets
    loss = train(student, crops, learned)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(block.state_dict(), path)
    print(
        f"{time.strftime('%H:%M:%S')} {path.stem}: loss {loss:.4f}, {time.monotonic() - started:.0f} s",
        flush=True,
    )
    return student


@torch.no_grad()
def raw_targets(trunk: Trunk, crops: Crops, read_out: str) -> Tensor:
    """The teacher's features of one view."""
    parts = [trunk.read(read_out)(one[None]) for one in crops.images]
    return torch.cat(parts).flatten(2).transpose(1, 2)


def grid(
    trunk: Trunk, cache: str, digests: dict[str, str], shards: Sequence[str],
    pairs: Sequence[tuple[str, str, bool]], read_as: Sequence[str], benches: Sequence[Bench], out: Path,
) -> None:  # fmt: skip
    """Every pair (targets, student as trained, raw targets or not), read in every way."""
    for targets, trained, raw in pairs:
        name = f"{targets}{' (1 view)' if raw else ''} to {trained}"
        missing = [
            (bench, read_out)
            for bench in benches
            for read_out in read_as
            if not result_path(out, f"{name}, read {read_out}", bench).exists()
        ]
        if not missing:
            continue
        crops = Crops(cache, digests[targets], shards, trunk)
        student = student_of(trunk, crops, targets, trained, out, raw)
        for bench, read_out in missing:
            measure(f"{name}, read {read_out}", trunk.read(read_out, student.vit), bench, out)
