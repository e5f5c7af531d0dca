"""Where a run reads and writes on local disks, for the nodes to prove that they see it."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from phreg.config.labels import Column, is_embedding_file
from phreg.config.model import model_folder
from phreg.config.run import RunConfig
from phreg.pipeline.columns import labelled_sets
from phreg.pipeline.prepare import Prepared

if TYPE_CHECKING:
    from phreg.execution.visibility import RunPaths


def check_nodes(config: RunConfig, prepared: Prepared) -> None:
    """Raise `ConfigError` unless every node that may work for this run sees its files."""
    from phreg.execution.targets import actor_resources  # only here: it imports Ray
    from phreg.execution.train import worker_resources
    from phreg.execution.visibility import claimed

    kinds = [actor_resources(config.generation), worker_resources(config.training)]
    with claimed(run_paths(config, [*prepared.train, *prepared.validation]), kinds):
        pass


def run_paths(config: RunConfig, shards: Iterable[str] = ()) -> "RunPaths":
    """Of a run, and of so many of its shards."""
    from phreg.execution.visibility import RunPaths

    written = [config.output, *(place for place in (config.cache, config.registry) if place)]
    columns: list[Column] = [*config.labels.sets, *config.labels.probes]
    roots = [item.root for column in columns for item in labelled_sets(column) if Path(item.root).exists()]
    names = [config.labels.text, *(column.text for column in config.labels.sets)]
    texts = [name if is_embedding_file(name) else model_folder(name) for name in names if name is not None]
    return RunPaths.of(written, [*shards, *config.teacher.files, *roots, *texts])
