"""Verification of a target store with the means of a run: its shards and its live teacher."""

from collections.abc import Callable

from torch import Tensor

from phreg.cache import TargetStore, VerifyReport, verify
from phreg.config.model import Device
from phreg.config.run import RunConfig, load_config
from phreg.data import read_shard, shard_name
from phreg.device import device_here
from phreg.errors import ConfigError, MissingTargetsError
from phreg.generate import compute_targets, crops_of
from phreg.models import Backbone, load_teacher
from phreg.pipeline.prepare import Prepared, shard_urls, target_specs


def verify_store(
    store: TargetStore, config_path: str | None, samples: int, seed: int, device: Device | None = None
) -> VerifyReport:
    """Re-read what is committed; with a config, also that all its shards are, and `samples` of them anew:
    their features, not the variance beside them, which only the checksums guard.

    `device`: where, on this machine; default: the config's.
    """
    if config_path is None:
        return verify(store)
    config = load_config(config_path)
    if config.teacher.precision == "auto":  # whatever it was, the spec names it
        teacher_config = config.teacher.model_copy(update={"precision": store.spec.precision})
        config = config.model_copy(update={"teacher": teacher_config})
    teacher = load_teacher(config.teacher)
    if samples:
        teacher = teacher.on(device_here(device or config.device))
    urls = _urls(config, teacher, store)
    return verify(
        store,
        recompute=_recompute(store, teacher, urls),
        samples=samples,
        seed=seed,
        shards=urls,
    )


def _urls(config: RunConfig, teacher: Backbone, store: TargetStore) -> dict[str, str]:
    """The config's shards that belong into this store, by name. Raises `ConfigError` if it has no such."""
    specs = {name: spec.digest for name, spec in target_specs(config, teacher).items()}
    names = [name for name, digest in specs.items() if digest == store.digest]
    if not names:
        raise ConfigError(
            f"The config makes no targets with the spec {store.digest[:12]}",
            expected=", ".join(f"{name}: {digest[:12]}" for name, digest in specs.items()),
            remedy="name one of these specs, or give the config that made these targets",
        )
    train, validation = shard_urls(config)
    prepared = Prepared(train, validation, specs)
    return {shard_name(url): url for url in prepared.shards_for(config, names[0])}


def _recompute(
    store: TargetStore, teacher: Backbone, urls: dict[str, str]
) -> Callable[[str, list[tuple[str, int]]], Tensor]:
    def recompute(shard: str, places: list[tuple[str, int]]) -> Tensor:
        samples = {sample.key: sample for sample in read_shard(urls[shard]).samples}
        absent = [key for key, _ in places if key not in samples]
        if absent:
            raise MissingTargetsError(f"The shard {urls[shard]} has no sample {absent[0]!r} any more")
        crops = [crops_of(store.spec, shard, samples[key])[index] for key, index in places]
        return compute_targets(teacher, store.spec, crops).features

    return recompute
