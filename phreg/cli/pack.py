"""`phreg pack`."""

import argparse
from typing import Any

from phreg.cli.options import add_command, human_bytes, positive, progress
from phreg.errors import hide_credentials


def add(commands: Any) -> None:
    parser = add_command(
        commands, "pack", pack, "A folder of images to WebDataset shards; run again, it goes on.",
        "phreg pack photos s3://bucket/photos --samples-per-shard 500",
    )  # fmt: skip
    parser.add_argument("images", metavar="IMAGES", help="folder of images, at any depth; local or a URL")
    parser.add_argument("out", metavar="OUT", help="folder for the shards; local or a URL")
    parser.add_argument(
        "--samples-per-shard", type=positive, default=1000, metavar="N", help="images a shard (1000)"
    )


def pack(options: argparse.Namespace) -> int:
    from phreg.data import pack_images

    report = pack_images(
        options.images, options.out, options.samples_per_shard, on_progress=progress("packing", "images")
    )
    print(
        f"{report.samples} images in {len(report.shards)} shards ({human_bytes(report.bytes)}): "
        f"{report.written} written, {report.reused} there before"
    )
    if report.quarantined:
        listed = hide_credentials(f"{options.out}/quarantine.jsonl")
        print(f"{len(report.quarantined)} unreadable, listed in {listed}:")
        for path, reason in report.quarantined[:20]:
            print(f"  {path}: {reason}")
    return 0
