"""One of everything that is stored, written and read back."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from phreg.data import read_shard
from phreg.distill.checkpoint import Checkpoint, latest_checkpoint, write_checkpoint
from phreg.evaluate.probe.features import FeatureMaker
from phreg.models import hub_files, load_backbone
from phreg.models.hub import load_student
from phreg.registry import Registry
from phreg.storage import Folder
from phreg.storage.checksummed import read_checksummed_tensors, to_checksummed_tensors
from tests.generate.worlds import make_world
from tests.helpers import tiny_dinov2, write_shard
from tests.registry.examples import register


def everything(place: str) -> Iterator[str]:
    """Names what was read, thing by thing."""
    folder = Path(place)
    url = str(write_shard(folder / "a-0.tar"))
    assert len(read_shard(url).samples) == 4
    yield "shard"
    world = make_world(folder)
    world.generator().generate(url)
    assert len(world.store.read("a-0")) == 4
    yield "targets"
    checkpoints = Folder(str(folder / "checkpoints"))
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([parameter])
    parameter.sum().backward()
    optimizer.step()
    write_checkpoint(checkpoints, Checkpoint(7, {"a": parameter.data}, optimizer.state_dict(), "", 1.0))
    found = latest_checkpoint(checkpoints)
    assert found is not None
    assert found.step == 7
    yield "checkpoint"
    load_student(world.teacher.model.removeprefix("local-dir:"))
    yield "student"
    registry = Registry(Folder(str(folder / "registry")))
    files = hub_files(load_backbone(tiny_dinov2()))
    entry = register(registry, files=files)
    registry.entry("demo", 1).verify()
    load_student(entry.url)
    yield "registered"
    maker = FeatureMaker(load_backbone(tiny_dinov2()), Folder(str(folder / "features")))
    for _ in range(2):
        maker.features(np.zeros((1, 64, 64, 3), np.uint8))
    assert maker.forward_passes == 1
    yield "features"
    Folder(place).write("e.safetensors", to_checksummed_tensors({"a": torch.ones(2)}))
    assert read_checksummed_tensors(Folder(place), "e.safetensors") is not None
    yield "embeddings"
