"""What a packed shard holds, recorded beside it: `NAME-000000.json`, written after `NAME-000000.tar`."""

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from phreg.errors import ConfigError
from phreg.storage import Folder


class PackedShard(BaseModel):
    """`members` are (path in the source, bytes), those quarantined included; `digest` is the tar's SHA-256.

    `bytes` is 0 and there is no tar where every member was quarantined.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    samples: int
    bytes: int
    digest: str
    members: tuple[tuple[str, int], ...]
    quarantined: tuple[tuple[str, str], ...]


def shard_stem(name: str, index: int) -> str:
    return f"{name}-{index:06d}"


def read_records(out: Folder, name: str) -> dict[int, PackedShard]:
    """Records by shard index, in order. Raises `ConfigError` where the folder holds shards of another set.

    A tar without a record is one that an interrupted run had just written; only the last can be that.
    """
    objects = {item.path for item in out.list() if "/" not in item.path}
    pattern = re.compile(re.escape(name) + r"-(\d{6,})\.json")
    indices = sorted(int(match[1]) for path in objects if (match := pattern.fullmatch(path)))
    following = (indices[-1] + 1) if indices else 0
    ours = {f"{shard_stem(name, index)}.tar" for index in [*indices, following]}
    others = sorted(path for path in objects if path.endswith(".tar") and path not in ours)
    if others or indices != list(range(len(indices))):
        raise another_set(
            out, f"{others[0]}, without its record" if others else "a record missing between others"
        )
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(indices, pool.map(lambda index: _read(out, name, index), indices), strict=True))


def check_source(records: Mapping[int, PackedShard], sizes: Mapping[str, int], out: Folder) -> None:
    """The source must still hold every packed image at its size. Raises `ConfigError`."""
    for record in records.values():
        quarantined = {path for path, _ in record.quarantined}
        for path, size in record.members:
            if path not in quarantined and sizes.get(path) != size:
                now = f"{sizes[path]} bytes" if path in sizes else "gone"
                raise another_set(out, f"{path} packed with {size} bytes, in the source {now}")


def another_set(out: Folder, found: str) -> ConfigError:
    return ConfigError(
        f"The folder {out.url} holds shards of another set of images",
        expected="an empty folder, or one packed from the same images (new ones may be added)",
        found=found,
        remedy="pack into a new folder; what is in this one was left as it is",
    )


def _read(out: Folder, name: str, index: int) -> PackedShard:
    path = f"{shard_stem(name, index)}.json"
    try:
        return PackedShard.model_validate_json(out.read(path))
    except ValidationError as error:
        raise ConfigError(
            f"Cannot read the record {out.url_of(path)}",
            expected="a record that `phreg pack` wrote",
            found=str(error.errors()[0]["msg"]),
            remedy="pack into a new folder",
        ) from None
