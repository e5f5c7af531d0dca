"""Targets of several read-outs, in one pass of the teacher over each shard, into phreg's own cache."""

import io
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.real.trunk import Trunk
from phreg.cache import TargetStore
from phreg.config.run import TargetConfig, TeacherConfig
from phreg.generate import TargetGenerator, target_spec
from phreg.storage import Folder

HELD_OUT = 12  # images of the validation shard


def make_targets(
    teacher: TeacherConfig, trunk: Trunk, read_outs: Sequence[str], target: TargetConfig,
    shards: Iterable[Path], cache: str,
) -> dict[str, str]:  # fmt: skip
    """Target spec digests by read-out. What is committed is not made again; views that the trunk has seen are
    not computed again."""
    generators = {}
    for name in read_outs:
        backbone = trunk.read(name)
        spec = target_spec(backbone, teacher.model_copy(update={"read_out": name}), target, seed=0)
        store = TargetStore.create(Folder(cache), spec)
        generators[name] = TargetGenerator(lambda own=backbone: own, store)
    for shard in shards:
        for name, generator in generators.items():
            report = generator.generate(str(shard))
            print(f"targets {name} of {shard.name}: {report.seconds:.0f} s", flush=True)
    return {name: generator.spec.digest for name, generator in generators.items()}


def held_out_shard(source: Path, folder: Path, images: int = HELD_OUT) -> Path:
    """The first images of a shard as a shard of their own."""
    path = folder / f"held-out-{source.name}"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    buffer, keys = io.BytesIO(), dict[str, None]()
    with tarfile.open(source) as old, tarfile.open(fileobj=buffer, mode="w") as new:
        for member in old:
            keys[member.name.partition(".")[0]] = None
            if len(keys) > images:
                break
            new.addfile(member, old.extractfile(member))
    path.write_bytes(buffer.getvalue())
    return path
