"""`phreg pack`."""

import argparse
import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from phreg.cli.options import add_command, human_bytes, positive
from phreg.cli.progress import showing
from phreg.cli.tables import plain, say
from phreg.progress import tell

SAMPLES_PER_SHARD = 1000


def add(commands: Any) -> None:
    parser = add_command(
        commands, "pack", pack, "A folder of images to WebDataset shards; run again, it goes on.",
        "phreg pack photos s3://bucket/photos --samples-per-shard 500",
    )  # fmt: skip
    parser.add_argument("images", metavar="IMAGES", help="folder of images, at any depth; local or a URL")
    parser.add_argument("out", metavar="OUT", help="folder for the shards; local or a URL")
    parser.add_argument(
        "--list", metavar="FILE", dest="listed",
        help="pack only the images that this text file names, one path a line: in IMAGES, or whole",
    )  # fmt: skip
    parser.add_argument(
        "--samples-per-shard", type=positive, metavar="N", help=f"images per shard ({SAMPLES_PER_SHARD})"
    )


def pack(options: argparse.Namespace) -> int:
    from phreg.data import pack_images

    most = options.samples_per_shard or SAMPLES_PER_SHARD
    with showing("packing", "listing the images"):
        on_progress = partial(tell, "reading")
        report = pack_images(
            options.images, options.out, most, on_progress=on_progress, listed=options.listed
        )
    say(
        f"{report.samples} images in {len(report.shards)} shards ({human_bytes(report.bytes)}): "
        f"{report.written} written, {report.reused} there before"
    )
    largest = report.largest_before
    if largest > most or (options.samples_per_shard and report.reused > 1 and largest < most):
        say(
            f"the shards that were there stay as they are, with up to {largest} images each; "
            f"--samples-per-shard {most} is only for new ones: for other shards, pack into a new folder"
        )
    if report.quarantined:
        say(f"{len(report.quarantined)} unreadable, listed in {options.out}/quarantine.jsonl:")
        for path, reason in report.quarantined[:20]:
            say(plain(f"  {path}: {reason}"))
    if report.shards:
        say(f"\n{config_lines(options.out, report.shards)}")
    return 0


def config_lines(out: str, shards: Sequence[str]) -> str:
    """What a run's config says of these shards, the last one held out."""
    names = [url.rpartition("/")[2] for url in shards]
    folder = out.rstrip("/")
    ranges = [f"{folder}/{name}" for name in _ranges(names[:-1] or names)]
    lines = f"in a run's config:\n  images: {ranges[0] if len(ranges) == 1 else json.dumps(ranges)}\n"
    if len(names) == 1:
        return (
            f"{lines}one shard cannot be held out (`validation:`): a smaller --samples-per-shard N makes "
            "several, in a new folder"
        )
    return f"{lines}  validation: {folder}/{names[-1]}"


def _ranges(names: Sequence[str]) -> list[str]:
    """Brace ranges of NAME-000000.tar and so on, in order; a number may be missing between them."""
    runs: list[list[str]] = []
    for name in names:
        follows = runs and len(runs[-1][-1]) == len(name) and _number(name) == _number(runs[-1][-1]) + 1
        if follows:
            runs[-1].append(name)
        else:
            runs.append([name])
    return [_range(run[0], run[-1]) for run in runs]


def _range(first: str, last: str) -> str:
    stem, _, number = first.rpartition("-")
    ends = f"{{{number.removesuffix('.tar')}..{last.rpartition('-')[2].removesuffix('.tar')}}}"
    return first if first == last else f"{stem}-{ends}.tar"


def _number(name: str) -> int:
    return int(name.removesuffix(".tar").rpartition("-")[2])
