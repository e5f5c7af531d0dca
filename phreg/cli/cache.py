"""`phreg cache list|quarantined|verify|rm|gc`."""

import argparse
from typing import Any

from phreg.cli.options import add_command, add_device, duration, human_bytes, non_negative, print_table
from phreg.cli.progress import showing
from phreg.cli.tables import plain, say, warn
from phreg.errors import MissingTargetsError


def add(commands: Any) -> None:
    group = commands.add_parser("cache", help="list, verify and clean a target cache")
    actions = group.add_subparsers(metavar="ACTION", required=True)
    parser = add_command(
        actions, "list", list_specs, "What a cache holds: one line per target spec.",
        "phreg cache list runs/demo/cache",
    )  # fmt: skip
    parser.add_argument("cache", metavar="CACHE", help="URL of the cache")
    parser = add_command(
        actions, "quarantined", list_quarantined, "Samples left out: spec, shard, key, reason, tabs between.",
        "phreg cache quarantined runs/demo/cache --spec 3f2a",
    )  # fmt: skip
    parser.add_argument("cache", metavar="CACHE", help="URL of the cache")
    parser.add_argument("--spec", metavar="DIGEST", help="digest or unique prefix; default: all specs")
    parser = add_command(
        actions, "verify", verify, "Re-read every committed shard; with a config, recompute some, too.",
        "phreg cache verify runs/demo/cache 3f2a --config runs/demo/demo.yaml --samples 8",
    )  # fmt: skip
    parser.add_argument("cache", metavar="CACHE", help="URL of the cache")
    parser.add_argument("spec", metavar="SPEC", nargs="*", help="digests or unique prefixes; default: all")
    parser.add_argument("--config", help="config of a run: checks coverage, and recomputes with its teacher")
    parser.add_argument(
        "--samples", type=non_negative, default=0, help="random targets to recompute; needs --config"
    )
    parser.add_argument("--seed", type=int, default=0, help="which random targets")
    add_device(parser, default=None)
    parser.add_argument(
        "--heal", action="store_true", help="remove the records of damaged shards: the next run remakes them"
    )
    parser = add_command(
        actions, "rm", remove, "Remove all targets of a spec, unless a run seems to be making them.",
        "phreg cache rm runs/demo/cache 3f2a --dry-run",
    )  # fmt: skip
    parser.add_argument("cache", metavar="CACHE", help="URL of the cache")
    parser.add_argument("spec", metavar="SPEC", help="digest or unique prefix")
    parser.add_argument(
        "--grace-hours", type=duration, default=1.0, help="what was written since then is a run's (1)"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")
    parser = add_command(
        actions, "gc", collect, "Remove what no commit record names and is older than the grace period.",
        "phreg cache gc runs/demo/cache --grace-hours 24 --dry-run\n"
        "phreg cache gc runs/demo/cache --unused-by photos.yaml sweep.yaml --dry-run",
    )  # fmt: skip
    parser.add_argument("cache", metavar="CACHE", help="URL of the cache")
    parser.add_argument("--grace-hours", type=duration, default=24.0, help="leave younger objects alone (24)")
    parser.add_argument(
        "--unused-by", metavar="CONFIG", nargs="+", default=[],
        help="also all targets that none of these configs of runs and tables use, as they are without --set",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")


def _open(options: argparse.Namespace) -> Any:
    """The cache. A mistyped URL must not look like an empty one; the first thing in a cache is a spec."""
    from phreg.cache import open_cache

    cache = open_cache(options.cache)
    if not cache.digests():
        raise MissingTargetsError(
            f"There is no target cache at {cache.folder.url}",
            expected="a folder for each target spec, as `phreg run` makes them",
            found="none",
            remedy="check the URL: a run's cache is OUTPUT/cache, unless its config names another",
        )
    return cache


def list_specs(options: argparse.Namespace) -> int:
    cache = _open(options)
    with showing("reading the records"):
        summaries = cache.summaries()
    print_table([_row(summary) for summary in summaries], "no targets")
    for summary in summaries:
        if summary.problem:
            warn(f"{summary.digest[:12]}: {summary.problem}")
    return 1 if any(summary.problem for summary in summaries) else 0


def _row(summary: Any) -> dict[str, str]:
    spec = summary.spec
    described = {
        "spec": summary.digest[:12],
        "read-out": spec.read_out if spec else "damaged",
        "pixels": str(spec.image_size) if spec else "",
        "denoised by": spec.denoised_by.title if spec else "",
        "features": f"{spec.patches} x {spec.dim}" if spec else "",
        "encoding": spec.encoding if spec else "",
    }
    return described | {
        "shards": str(summary.shards),
        "crops": str(summary.rows),
        "quarantined": str(summary.quarantined),
        "stored": human_bytes(summary.bytes),
    }


def list_quarantined(options: argparse.Namespace) -> int:
    from phreg.errors import CorruptTargetsError, SpecMismatchError

    cache = _open(options)
    found = damaged = False
    for digest in [options.spec] if options.spec else cache.digests():
        try:
            store = cache.store(digest)
            shards = store.shards()
        except SpecMismatchError as error:  # it hides no other, nor does a record
            damaged = _name_damaged(digest, error)
            continue
        for shard in shards:
            try:
                record = store.record(shard)
            except (CorruptTargetsError, SpecMismatchError) as error:
                damaged = _name_damaged(store.digest, error)
                continue
            for key, reason in record.quarantined if record else ():
                found = True
                say("\t".join([store.digest[:12], shard, plain(key), plain(reason)]))
    if not found:
        warn(f"no samples are quarantined in {options.cache}")
    return 1 if damaged else 0


def _name_damaged(digest: str, error: Exception) -> bool:
    warn(f"{digest[:12]}: {error}")
    return True


def verify(options: argparse.Namespace) -> int:
    from phreg.errors import ConfigError, SpecMismatchError

    if options.samples and not options.config:
        raise ConfigError("--samples needs --config", "the config whose teacher recomputes the targets")
    from phreg.pipeline.verify import verify_store

    cache = _open(options)
    sound = True
    for digest in options.spec or cache.digests():
        try:
            store = cache.store(digest)
        except SpecMismatchError as error:  # it hides no other
            say(f"{digest[:12]}: {error}")
            sound = False
            continue
        with showing(f"verifying {store.digest[:12]}"):
            report = verify_store(store, options.config, options.samples, options.seed, options.device)
        _print_report(store.digest, report)
        for shard, attempt in sorted(report.damaged.items()) if options.heal else ():
            removed = store.discard_damaged(shard, attempt)
            done = "record removed; `phreg targets` makes it anew"
            say(f"  {shard}: {done if removed else 'made anew, or its record removed, meanwhile'}")
        sound &= report.ok
    return 0 if sound else 1


def _print_report(digest: str, report: Any) -> None:
    recomputed = (
        f"; {report.sampled} targets recomputed, largest relative error {report.worst_relative_error:.2g}"
        if report.sampled
        else ""
    )
    state = "sound" if report.ok else f"{len(report.problems)} problems"
    size = human_bytes(report.bytes)
    say(f"{digest[:12]}: {state}; {report.shards} shards, {report.rows} crops, {size}{recomputed}")
    for shard, problem in report.problems:
        say(f"  {shard}: {problem}")


def remove(options: argparse.Namespace) -> int:
    cache = _open(options)
    _remove(cache, cache.digest_of(options.spec), options)
    return 0


def _remove(cache: Any, digest: str, options: argparse.Namespace) -> None:
    from phreg.cache import remove_spec

    with showing(f"removing {digest[:12]}"):
        gone = remove_spec(cache.folder, digest, options.grace_hours * 3600, options.dry_run)
    say(f"{_verb(options)} the targets {digest[:12]}: {gone.shards} shards ({human_bytes(gone.bytes)})")


def _verb(options: argparse.Namespace) -> str:
    return "would remove" if options.dry_run else "removed"


def collect(options: argparse.Namespace) -> int:
    from phreg.cache import collect_garbage

    cache = _open(options)
    busy = options.unused_by and _remove_unused(cache, options)
    folder = cache.folder
    with showing("looking for garbage"):
        report = collect_garbage(folder, grace_seconds=options.grace_hours * 3600, dry_run=options.dry_run)
    say(
        f"{_verb(options)} {len(report.removed)} attempts ({human_bytes(report.bytes)}); "
        f"{len(report.kept_young)} uncommitted ones are younger than {options.grace_hours:g} h"
    )
    for record in report.unreadable:
        warn(f"damaged record, its shard's data was kept: {record}")
    for problem in report.newer:
        warn(f"{problem}\n  all of its spec was kept")
    return 1 if report.unreadable or report.newer or busy else 0


def _remove_unused(cache: Any, options: argparse.Namespace) -> bool:
    """Whether some were kept, because a run seems to be making them."""
    from phreg.errors import CacheError
    from phreg.pipeline.unused import unused_specs

    with showing("looking for what is used"):
        unused = unused_specs(cache, options.unused_by)
    if not unused:
        say("all targets are used")
    busy = False
    for digest in unused:
        try:
            _remove(cache, digest, options)
        except CacheError as error:
            warn(error)
            busy = True
    return busy
