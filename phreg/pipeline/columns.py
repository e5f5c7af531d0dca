"""The columns of a table: labelled sets that are there, and what is measured on them.

Functions here run where the network runs; what they measure is stored under a digest of all it depends on.
"""

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from phreg.config import TeacherConfig
from phreg.datasets import LabelledSet, open_set
from phreg.errors import ConfigError, ObjectNotFoundError
from phreg.fingerprint import canonical_json
from phreg.label_config import LabelledSetConfig, ProbeColumn, SetColumn
from phreg.models import Backbone
from phreg.models.text import TextTower, load_text
from phreg.probe import probe_depth, probe_segmentation
from phreg.segment import Segmenter, ViewPlan, class_embeddings, segment_set
from phreg.storage import Folder
from phreg.views import sample_views

Column = SetColumn | ProbeColumn
Scores = dict[str, float]

HIGHER_IS_BETTER = {
    "mIoU": True, "pixel accuracy": True, "RMSE": False, "AbsRel": False, "delta1": True,
    "delta2": True, "delta3": True,
}  # fmt: skip
"""Measures of labelled columns. IoU and accuracy in percent; RMSE in metres; AbsRel and deltas as shares."""


def labelled_sets(column: Column) -> list[LabelledSetConfig]:
    return [column] if isinstance(column, SetColumn) else [column.train, column.test]


def is_present(column: Column) -> bool:
    """Whether the folders of its sets exist. What is in them is checked when they are opened."""
    return all(Path(item.root).exists() for item in labelled_sets(column))


def check_column(column: Column, text: TextTower | None, backbone: Backbone) -> None:
    """Raises `ConfigError` or `DataError` for a set that is not in its layout, or a text tower of another
    width than the features."""
    for item in labelled_sets(column):
        open_set(item)
    if isinstance(column, SetColumn) and text is not None and text.out_dim != backbone.out_dim:
        raise ConfigError(
            f"The column {column.name} needs features in the space of the text tower",
            expected=f"a text tower of width {backbone.out_dim}",
            found=f"{text.out_dim}",
            remedy="give the text model that belongs to the teacher",
        )


def text_tower(teacher: TeacherConfig, text: str | None) -> TextTower:
    return load_text(text or teacher.model, None if text else teacher.checkpoint)


def measure_column(
    column: Column, backbone: Backbone, views: ViewPlan | None, text: str | None, teacher: TeacherConfig,
    folder: Folder, device: str,
) -> Scores:  # fmt: skip
    """The measures of one method on one column."""
    if isinstance(column, SetColumn):
        labelled = open_set(column)
        return _segmentation(column, labelled, backbone, views, text_tower(teacher, text), folder, device)
    return _probe(column, backbone, views, folder, device)


def _segmentation(
    column: SetColumn, labelled: LabelledSet, backbone: Backbone, views: ViewPlan | None, text: TextTower,
    folder: Folder, device: str,
) -> Scores:  # fmt: skip
    names = class_embeddings(text, labelled.classes, folder=folder)
    segmenter = Segmenter(
        backbone, names.embeddings, names.owner, len(labelled.classes), column.segmentation,
        labelled.background, views, device,
    )  # fmt: skip
    found = segment_set(segmenter, labelled)
    return {"mIoU": 100 * found.miou, "pixel accuracy": 100 * found.pixel_accuracy}


def _probe(
    column: ProbeColumn, backbone: Backbone, views: ViewPlan | None, folder: Folder, device: str
) -> Scores:
    size = column.probe.image_size
    grid = backbone.grid_size if size is None else (size // backbone.patch_size,) * 2
    drawn = None if views is None else sample_views(grid, views.count, views.max_shift, views.seed)
    sets: tuple[Any, ...] = (open_set(column.train), open_set(column.test))
    arguments: tuple[Any, ...] = (backbone, *sets, column.probe, folder / "features", device, drawn)
    if column.task == "segmentation":
        scores = probe_segmentation(*arguments)
        return {"mIoU": 100 * scores.mean_iou, "pixel accuracy": 100 * scores.pixel_accuracy}
    depth = probe_depth(*arguments)
    return {
        "RMSE": depth.rmse, "AbsRel": depth.abs_rel, "delta1": depth.delta1, "delta2": depth.delta2,
        "delta3": depth.delta3,
    }  # fmt: skip


def stored_scores(folder: Folder, digest: str) -> Scores | None:
    """Scores found under a digest; what cannot be read is measured again."""
    try:
        return TypeAdapter(Scores).validate_json(folder.read(f"scores/{digest}.json"))
    except (ObjectNotFoundError, ValidationError):
        return None


def store_scores(folder: Folder, digest: str, scores: Scores) -> None:
    folder.write(f"scores/{digest}.json", canonical_json(scores))
