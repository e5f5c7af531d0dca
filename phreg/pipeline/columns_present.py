"""The labelled columns that are there, checked against the teacher before anything starts."""

from pathlib import Path
from typing import NamedTuple

from phreg.config.labels import Column, SetColumn
from phreg.config.run import RunConfig
from phreg.errors import ConfigError, DataError, ModelError
from phreg.evaluate.datasets import LabelledSet, open_set
from phreg.evaluate.probe import check_have_depth, check_same_classes, input_sides
from phreg.evaluate.segment import check_nameable, check_windows
from phreg.evaluate.segment.embedding_file import EmbeddingFile
from phreg.models import Backbone
from phreg.models.text import TextTower
from phreg.pipeline.columns import embed_classes, labelled_sets, load_names


class Columns(NamedTuple):
    """A run's columns whose sets are there; the names of those that are not; and by name the digests of what
    names the classes of those that are segmented."""

    present: tuple[Column, ...]
    absent: tuple[str, ...]
    texts: dict[str, str]


def columns_present(config: RunConfig, teacher: Backbone) -> Columns:
    """A run's columns, checked.

    Raises `ConfigError`, `ModelError` or `DataError` for a set that is there but not in its layout or not
    labelled as its column needs, for sizes that do not fit the teacher's patches, and for a text tower of
    another width than the features.
    """
    columns: list[Column] = [*config.labels.sets, *config.labels.probes]
    present = tuple(column for column in columns if is_present(column))
    sources, texts = _Sources(config), dict[str, str]()
    for column in present:
        sets = [open_set(item) for item in labelled_sets(column)]
        try:
            _check_column(column, sets, teacher)
            if isinstance(column, SetColumn):
                _check_names(column, sets[0], teacher, sources.of(column))
                texts[column.name] = sources.of(column).digest
        except (ConfigError, DataError, ModelError) as error:
            problem = f"{column.name} cannot be measured: {error.problem}"
            raise type(error)(problem, error.expected, error.found, error.remedy) from None
    return Columns(present, tuple(column.name for column in columns if column not in present), texts)


def is_present(column: Column) -> bool:
    """Whether the folders of its sets exist. What is in them is checked when they are opened."""
    return all(Path(item.root).exists() for item in labelled_sets(column))


def absent_roots(config: RunConfig) -> tuple[str, ...]:
    """`NAME (ROOT)` for each folder that a labelled column needs and that is not there."""
    columns: list[Column] = [*config.labels.sets, *config.labels.probes]
    return tuple(
        f"{column.name} ({item.root})"
        for column in columns
        for item in labelled_sets(column)
        if not Path(item.root).exists()
    )


def _check_column(column: Column, sets: list[LabelledSet], teacher: Backbone) -> None:
    """What measuring itself checks, with images not yet read. Students have the teacher's patches."""
    if isinstance(column, SetColumn):
        check_nameable(sets[0].classes)
        check_windows(column.segmentation, teacher.patch_size)
        return
    input_sides(teacher, column.probe.image_size)
    if column.task == "segmentation":
        check_same_classes(*sets)
    else:
        check_have_depth(*sets)


class _Sources:
    """What names classes, each read once."""

    def __init__(self, config: RunConfig) -> None:
        self._config, self._found = config, dict[str | None, TextTower | EmbeddingFile]()

    def of(self, column: SetColumn) -> TextTower | EmbeddingFile:
        if column.text not in self._found:
            self._found[column.text] = load_names(self._config, column)
        return self._found[column.text]


def _check_names(
    column: SetColumn, labelled: LabelledSet, teacher: Backbone, source: TextTower | EmbeddingFile
) -> None:
    what, place = "text tower", ""
    if isinstance(source, EmbeddingFile):
        what, place = "class embeddings", f" in {source.source}"
    if source.out_dim != teacher.out_dim:
        raise ConfigError(
            f"Open-vocabulary segmentation needs features in the space of the {what}",
            expected=f"{what} of width {teacher.out_dim}, as the teacher's features",
            found=f"{source.out_dim}{place}",
            remedy="give the text model that belongs to the teacher, or embeddings made by it",
        )
    if isinstance(source, EmbeddingFile):
        embed_classes(source, column, labelled)
