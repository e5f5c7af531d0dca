"""What a training worker holds of the data, in bytes, told before a run."""

from collections.abc import Sequence

from phreg.cache import TargetSpec, bytes_while_reading, estimated_bytes
from phreg.distill.batches import BatchPlan
from phreg.distill.held_out import KEPT_BYTES
from phreg.distill.stream import BATCHES_AHEAD

BATCHES = BATCHES_AHEAD + 2  # one more is learnt from, and one is being made


def shard_bytes_held(plan: BatchPlan, spec: TargetSpec, image_bytes: Sequence[int]) -> int:
    """The largest shards that a worker ever holds at once: encoded images and encoded targets.

    `image_bytes` of each shard of the plan.
    """
    targets = (estimated_bytes(spec, rows) for rows in plan.rows)
    largest = sorted(map(sum, zip(targets, image_bytes, strict=True)), reverse=True)
    return sum(largest[: plan.most_shards_held])


def memory_of_data(
    plan: BatchPlan, spec: TargetSpec, image_bytes: Sequence[int], held_out_rows: int = 0
) -> int:
    """All that a worker holds beside its students: shards, what reading one takes, batches, and of the
    held-out crops those that it keeps."""
    reading = max(bytes_while_reading(spec, max(plan.rows)), *image_bytes)
    batch = estimated_bytes(spec, plan.rows_per_batch) + plan.rows_per_batch * 3 * spec.image_size**2
    held_out = estimated_bytes(spec, held_out_rows) + held_out_rows * 3 * spec.image_size**2
    kept = min(held_out, KEPT_BYTES)
    return shard_bytes_held(plan, spec, image_bytes) + reading + BATCHES * batch + kept
