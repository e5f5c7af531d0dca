"""The targets stage: make what is missing of one kind of targets."""

from collections.abc import Sequence
from typing import Any

from phreg.cache import TargetStore
from phreg.config.run import RunConfig
from phreg.errors import GenerationError
from phreg.generate import TargetsReport, check_quarantined, reused_shards
from phreg.pipeline.prepare import Prepared
from phreg.pipeline.rates import note_rate
from phreg.progress import Progress, about, pass_on
from phreg.storage import Folder


def make_targets(config: RunConfig, prepared: Prepared, name: str) -> TargetsReport:
    """Make the targets `name` for all shards that need them, in the run's cache.

    Committed shards are reused, all of them without Ray; one whose commit record is damaged is made anew.
    Raises `GenerationError` when shards failed, after all others were made, or when more samples were
    quarantined than the config allows.
    """
    digest, urls = prepared.targets[name], prepared.shards_for(config, name)
    reused = reused_shards(TargetStore.open(Folder(config.cache_url), digest), urls)
    if all(url in reused for url in urls):
        pass_on(Progress("all reused", head=f"{len(urls)}/{len(urls)} shards", final=True))
        report = TargetsReport(digest, tuple(reused[url] for url in urls), failed=(), seconds=0.0)
    else:
        with about(run=config.name, targets=name):
            report = generated(config, digest, urls, reused=reused)
    if report.made:
        _note_rate(config, prepared.targets[name], report)
    check_report(report, name, config.max_quarantined)
    return report


def generated(config: RunConfig, digest: str, urls: Sequence[str], **more: Any) -> TargetsReport:
    """`generate_targets` as the config has it; only here Ray is imported."""
    from phreg.execution.targets import generate_targets

    return generate_targets(
        teacher=config.teacher,
        cache_url=config.cache_url,
        digest=digest,
        urls=urls,
        generation=config.generation,
        address=config.ray_address,
        **more,
    )


def _note_rate(config: RunConfig, digest: str, report: TargetsReport) -> None:
    """Shards in flight at one actor at once share its time."""
    from phreg.execution.targets import in_flight

    generation = config.generation
    seconds = sum(shard.seconds for shard in report.shards if not shard.reused) / in_flight(generation)
    spec = TargetStore.open(Folder(config.cache_url), digest).spec
    note_rate(Folder(config.output), "targets", spec, generation.gpus, report.forward_passes, seconds)


def check_report(report: TargetsReport, name: str, max_quarantined: float) -> None:
    """Raise `GenerationError` for what the report says is not done. Reused shards count as new ones do."""
    if report.failed:
        lines = "".join(f"\n    {shard}: {reason}" for shard, reason in report.failed[:10])
        raise GenerationError(
            f"{len(report.failed)} of {len(report.failed) + len(report.shards)} shards of the targets "
            f"{name!r} failed; the others are committed",
            found=lines,
            remedy="mend or leave out these shards, then run the same command again",
        )
    samples = report.images + len(report.quarantined)
    check_quarantined(f"the targets {name!r}", report.quarantined, samples, max_quarantined)
