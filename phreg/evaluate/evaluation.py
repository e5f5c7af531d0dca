"""A stored evaluation: what a model measured, on what, and the digest under which it is found again."""

import time
from collections.abc import Callable, Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from phreg.cache import TargetStore
from phreg.config.run import EvaluationConfig
from phreg.evaluate.class_tokens import kept_from_teacher
from phreg.evaluate.evaluator import measurements
from phreg.evaluate.held_out import held_out, held_out_shards
from phreg.evaluate.identity import ModelIdentity
from phreg.fingerprint import digest_json
from phreg.models import Backbone
from phreg.storage import Folder
from phreg.storage.checksummed import read_checksummed_json, to_checksummed_json

FORMAT_VERSION = 3  # raise it when the same model would measure otherwise


class Evaluation(BaseModel):
    """The measures of one model on one benchmark.

    `benchmark` identifies what was measured on (targets, shards, settings): metrics compare only where it
    is equal. `digest` identifies benchmark and model. `seconds` is what measuring took, reading the
    images included, and `forward_passes` are those of this call (a view of an image is one): 0 if `reused`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    metrics: dict[str, float]
    images: int
    benchmark: str
    digest: str
    seconds: float
    forward_passes: int
    reused: bool = False


def evaluate_model(
    backbone: Backbone,
    store: TargetStore,
    urls: Sequence[str],
    config: EvaluationConfig,
    *,
    seed: int = 0,
    device: str = "cpu",
    folder: Folder | None = None,
    teacher: Callable[[], Backbone] | None = None,
) -> Evaluation:
    """Measure a model on the first `config.images` images of the held-out shards at `urls`.

    `teacher` loads the network of the targets, to tell what a model has kept of its class token; without it,
    of networks that have none, and of another network's student, that is left out.

    Reuses `<digest>.json` in `folder` where the same model was measured on the same benchmark, and
    writes it otherwise. The benchmark is told from the targets' commit records, so a reused evaluation
    reads no image; that a shard still is what its record says is checked when its images are read.
    """
    benchmark = benchmark_digest(store, urls, config, seed)
    identity = ModelIdentity.of(backbone)
    stored = None if folder is None else stored_evaluation(folder, identity, benchmark, teacher is not None)
    if stored is not None:
        return stored
    beside = teacher if identity.keeps_class_token else None
    started = time.monotonic()
    crops = held_out(store, urls, config.images)
    found = measurements(backbone, crops, config.shifts, config.max_shift, seed, device)
    kept, passes = {}, found.forward_passes
    if beside is not None:
        kept = kept_from_teacher(backbone, beside, crops.crops, device, folder, benchmark)
        passes += len(crops)
    evaluation = Evaluation(
        metrics=found.metrics | kept,
        images=len(crops),
        benchmark=benchmark,
        digest=evaluation_digest(identity, benchmark, teacher is not None),
        seconds=time.monotonic() - started,
        forward_passes=passes,
    )
    if folder is not None:
        folder.write(f"{evaluation.digest}.json", to_checksummed_json(evaluation.model_dump(mode="json")))
    return evaluation


def benchmark_digest(store: TargetStore, urls: Sequence[str], config: EvaluationConfig, seed: int) -> str:
    """Identity of what is measured on: the targets, the images held out, and the shifts drawn."""
    shards = held_out_shards(store, urls, config.images)
    return digest_json(
        {
            "format_version": FORMAT_VERSION,
            "targets": store.digest,
            "shards": [[shard.name, shard.digest, shard.images] for shard in shards],
            "shifts": config.shifts,
            "max_shift": config.max_shift,
            "seed": seed,
        }
    )


def evaluation_digest(identity: ModelIdentity, benchmark: str, beside_teacher: bool) -> str:
    """Identity of an evaluation: the benchmark, and everything that the model's features depend on.

    `beside_teacher`: the teacher is there to be compared with, if the model has kept its class token."""
    beside = beside_teacher and identity.keeps_class_token
    return digest_json({"benchmark": benchmark, "model": identity.fields, "beside_teacher": beside})


def stored_evaluation(
    folder: Folder, identity: ModelIdentity, benchmark: str, beside_teacher: bool
) -> Evaluation | None:
    """What was measured of a model on a benchmark; what cannot be read is measured again, and replaced."""
    digest = evaluation_digest(identity, benchmark, beside_teacher)
    fields = read_checksummed_json(folder, f"{digest}.json")
    if fields is None:
        return None
    try:
        evaluation = Evaluation.model_validate(fields)
    except ValidationError:
        return None
    if evaluation.digest != digest:
        return None
    return evaluation.model_copy(update={"reused": True, "forward_passes": 0, "seconds": 0.0})
