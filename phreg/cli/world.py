"""`phreg world`."""

import argparse
from collections.abc import Callable
from typing import Any

from phreg.cli.options import add_command
from phreg.cli.progress import showing
from phreg.cli.tables import say
from phreg.errors import ConfigError
from phreg.fingerprint import canonical_json
from phreg.progress import tell
from phreg.storage import Folder

RECORD = "world.json"
MOST_SCENES, LARGEST_SIDE = 10_000_000, 4096
SETTINGS = ("train", "per_shard", "labelled", "size", "seed")


def add(commands: Any) -> None:
    parser = add_command(
        commands, "world", world, "Scenes with captions, masks and depth: shards, and a labelled set.",
        "phreg world runs/world --train 1000 --labelled 200",
    )  # fmt: skip
    parser.add_argument("output", help="folder or URL to write to")
    parser.add_argument("--train", type=_up_to(MOST_SCENES), default=1000, help="scenes in shards (1000)")
    parser.add_argument("--per-shard", type=_up_to(MOST_SCENES), default=100, help="scenes per shard (100)")
    parser.add_argument(
        "--labelled", type=_up_to(MOST_SCENES), default=200, help="other scenes, with labels (200)"
    )
    parser.add_argument(
        "--size", type=_up_to(LARGEST_SIDE), default=128, help="pixels of a scene's side (128)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the world (0); of 1 and 2 the small CLIP saw scenes"
    )


def world(options: argparse.Namespace) -> int:
    from phreg.demo.world.write import shard_bytes, write_label_folder

    folder, seed, size = Folder(options.output), options.seed, options.size
    _claim(folder, {name: getattr(options, name) for name in SETTINGS})
    starts = range(0, options.train, options.per_shard)
    with showing("drawing"):
        for done, start in enumerate(starts):
            scenes = range(start, min(start + options.per_shard, options.train))
            folder.write(f"scenes-{done:06d}.tar", shard_bytes(seed, scenes, size))
            tell("drawing", done + 1, len(starts), "shards")
        labelled = range(options.train, options.train + options.labelled)
        tell("drawing the labelled set")
        write_label_folder(folder / "labelled", seed, labelled, size)
    say(f"{options.train} scenes in {len(starts)} shards and {options.labelled} with labels in {folder.url}")
    return 0


def _claim(folder: Folder, settings: dict[str, int]) -> None:
    """A folder holds one world: scenes that one trained on must not be another's labelled ones."""
    wanted = canonical_json(settings)
    if folder.exists(RECORD):
        if folder.read(RECORD) == wanted:
            return
        problem = f"{folder.url} holds another world: {folder.read(RECORD)[:200].decode(errors='replace')}"
    elif folder.list():
        problem = f"{folder.url} is not empty"
    else:
        folder.write(RECORD, wanted)
        return
    raise ConfigError(problem, "an empty folder, or one of the same world", remedy="give another folder")


def _up_to(most: int) -> Callable[[str], int]:
    """The type of an argument that is a whole number from 1 to `most`."""

    def number(text: str) -> int:
        value = int(text)
        if not 1 <= value <= most:
            raise argparse.ArgumentTypeError(f"expected 1 to {most:,}, found {value}")
        return value

    return number
