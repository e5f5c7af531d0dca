"""Target generation on a cluster: a pool of actors, each with the teacher, a shard at a time."""

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
import torch

from phreg.cache import TargetStore
from phreg.config.run import GenerationConfig, TeacherConfig
from phreg.data import shard_name
from phreg.errors import (
    ConfigError,
    DownloadError,
    MissingTargetsError,
    ModelError,
    PhregError,
    SpecMismatchError,
    is_permanent_error,
)
from phreg.execution.capacity import CapacityCheck
from phreg.execution.cluster import connect
from phreg.execution.metrics import record_targets
from phreg.execution.pool import OnError, PoolSettings, run_pool
from phreg.execution.tally import OnProgress, Tally, TargetsProgress
from phreg.execution.visibility import Answer, Claim, RunPaths, claimed, naming_the_node
from phreg.generate import GeneratorProgress, ShardReport, TargetGenerator, TargetsReport
from phreg.models import load_teacher
from phreg.progress import pass_on, work_name
from phreg.storage import Folder


class TargetActor:
    """`TargetGenerator` as a Ray actor. The teacher is loaded in the actor, and only for work to do."""

    def __init__(
        self, name: str, teacher: TeacherConfig, store: TargetStore, generation: GenerationConfig
    ) -> None:
        self._name = name
        threads = max(1, int(generation.cpus_per_actor))
        torch.set_num_threads(threads)  # Ray leaves one
        self._generator = TargetGenerator(
            lambda: load_teacher(teacher),
            store,
            device="cuda" if generation.gpus else "cpu",
            images_per_forward=generation.images_per_forward,
            decode_threads=threads,
        )

    def __repr__(self) -> str:
        """As Ray shows the actor. A name proper would have the driver wait for the cluster's head."""
        return self._name

    def process(self, url: str) -> ShardReport:
        with naming_the_node():
            return self._generator.generate(url)

    def answer(self, claim: Claim) -> Answer:
        """Whether this node sees what the driver does. Asked before the first shard."""
        return claim.answer()

    def progress(self) -> GeneratorProgress:
        """For the pool to see that it gets on, and how far. Answered in a thread of its own."""
        return self._generator.progress()


def generate_targets(
    *,
    teacher: TeacherConfig,
    cache_url: str,
    digest: str,
    urls: Sequence[str],
    generation: GenerationConfig,
    address: str | None = None,
    on_progress: OnProgress | None = None,
    reused: Mapping[str, ShardReport] | None = None,
) -> TargetsReport:
    """Make the targets of all shards in the store `digest` of a cache; what is committed is reused.

    `address` as for `connect`. `reused`: reports by URL of shards that were found to be there.
    Shards that fail are in the report, after all others were done. Raises what
    would fail every shard: a teacher that cannot be loaded or is not the spec's, a store that is not there
    (`MissingTargetsError`), and `GenerationError` if the cluster gives too few actors. Without `on_progress`,
    who listens hears of it.
    """
    store = TargetStore.open(Folder(cache_url), digest)
    tally = Tally(urls, set(store.shards()), on_progress or _tell, reused=reused or {})
    missing = [url for url in urls if url not in tally.reports]
    paths = RunPaths.of([cache_url], [*urls, *teacher.files])
    with connect(address):
        _capacity(generation, len(missing)).check()  # what a Ray of our own lacks will not come
        with claimed(paths, [actor_resources(generation)]) as claim:
            failures = run_pool(
                _in_own_order(missing),
                _actor_maker(teacher, store, generation),
                _settings(generation),
                judge=judge,
                on_result=tally.made,
                on_failure=tally.failed,
                on_look=tally.look,
                **_proving(claim),
            )
    return TargetsReport(
        digest=digest,
        shards=tuple(tally.reports[url] for url in urls if url in tally.reports),
        failed=tuple((shard_name(failure.item), str(failure.error)) for failure in failures),
        seconds=tally.seconds,
    )


def _tell(progress: TargetsProgress) -> None:
    record_targets(progress)
    pass_on(progress.as_progress())


def _in_own_order(urls: Sequence[str]) -> list[str]:
    """Another order each time: two runs on one cache, started together, would do each shard twice if both
    took them in the same one. So they meet only now and then, and skip what the other has committed."""
    return random.SystemRandom().sample(urls, len(urls))


def judge(error: Exception) -> OnError:
    """What an actor's exception means for the pool."""
    if isinstance(error, ModelError | DownloadError | ConfigError | SpecMismatchError | MissingTargetsError):
        return OnError.STOP  # about the teacher or the store, not about a shard
    if is_permanent_error(error):
        return OnError.GIVE_UP
    # After some CUDA errors nothing works in a process any more; storage that fails is no such case.
    return OnError.RETRY if isinstance(error, PhregError) else OnError.REPLACE


def _actor_maker(
    teacher: TeacherConfig, store: TargetStore, generation: GenerationConfig
) -> Callable[[], Any]:
    remote: Any = ray.remote(TargetActor)
    actor = remote.options(
        num_cpus=generation.cpus_per_actor,
        num_gpus=generation.gpus,
        max_concurrency=in_flight(generation) + 1,  # the one for `progress`
        max_restarts=0,  # the pool replaces actors itself
    )
    name, numbers = work_name("targets"), itertools.count(1)
    return lambda: actor.remote(f"{name}:{next(numbers)}", teacher, store, generation)


def _proving(claim: Claim | None) -> dict[str, Any]:
    """How the pool has each actor prove that its node sees the driver's paths: it may be new."""
    if claim is None:
        return {}
    return {"greet": lambda actor: actor.answer.remote(claim), "on_ready": claim.take}


def _settings(generation: GenerationConfig) -> PoolSettings:
    return PoolSettings(
        min_actors=generation.min_actors,
        max_actors=generation.max_actors,
        max_attempts=generation.max_attempts,
        start_timeout_s=generation.start_timeout_s,
        stall_timeout_s=generation.stall_timeout_s,
        resources=actor_resources(generation),
        in_flight=in_flight(generation),
    )


def _capacity(generation: GenerationConfig, shards: int) -> CapacityCheck:
    actors = min(generation.min_actors, shards)
    options = "generation.min_actors, cpus_per_actor, gpus_per_actor"
    return CapacityCheck(
        actor_resources(generation),
        actors,
        "the actors that make targets",
        options,
        generation.start_timeout_s,
    )


def actor_resources(generation: GenerationConfig) -> dict[str, float]:
    return {"CPU": generation.cpus_per_actor, "GPU": generation.gpus}


def in_flight(generation: GenerationConfig) -> int:
    """Two on a GPU: it computes one shard while the other is read or written. On CPUs they would compete."""
    return 2 if generation.gpus else 1
