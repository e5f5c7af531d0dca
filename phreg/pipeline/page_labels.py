"""The report page's section on labelled sets: scores, and label maps before and after."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
from jaxtyping import UInt8

from phreg.config.labels import SetColumn
from phreg.config.run import RunConfig
from phreg.errors import DataError, NonFiniteError
from phreg.evaluate.datasets import LabelledImage, LabelledSet, open_set
from phreg.evaluate.segment import Segmenter
from phreg.evaluate.segment.whole_set import titles
from phreg.fingerprint import digest_json
from phreg.pipeline.assess import device_of
from phreg.pipeline.columns import (
    Bench,
    Scores,
    arrow,
    is_count,
    is_higher_better,
    segmenter,
    shown_measures,
)
from phreg.pipeline.methods import Labelled, Method
from phreg.pipeline.prepare import Prepared
from phreg.progress import tell
from phreg.report import Cell, Panel, PictureGroup, Section, Table, label_map_png, photo, swatches

FORMAT_VERSION = 1  # raise it when the same scores and models would be shown otherwise
READING = (
    (
        "Label map",
        "each pixel in the colour of the class whose name its feature is nearest to, among the names below. "
        "Better: closer to the truth. No model was trained on these labels.",
    ),
)


def label_inputs(config: RunConfig, labelled: Labelled) -> str:
    """Digest of everything the section depends on; the scores stand for the models and the sets."""
    fields = {
        "format_version": FORMAT_VERSION,
        "scores": labelled.scores,
        "methods": [(method.name, method.model_url) for method in labelled.methods],
        "labels": config.labels.model_dump(mode="json"),
        "figures": config.evaluation.figures,
    }
    return digest_json(fields)


def draw_labels(config: RunConfig, prepared: Prepared, labelled: Labelled, inputs: str) -> Section:
    """The section, with label maps of the first images of the first set that all methods segmented."""
    columns = [column for column in prepared.columns if isinstance(column, SetColumn)]
    columns = [c for c in columns if all(f"{c.name} mIoU" in found for found in labelled.scores.values())]
    pictures = (
        _pictures(config, columns[0], labelled.methods) if columns and config.evaluation.figures else ()
    )
    return Section(
        "With labels",
        "Measured on labelled images, frozen features under class names or a linear probe.",
        READING if pictures else (),
        tables=(_table(labelled.scores),),
        pictures=pictures,
        inputs=inputs,
    )


def _table(scores: Mapping[str, Scores]) -> Table:
    rows: list[tuple[Cell | str, ...]] = []
    for measure in shown_measures(scores.values()):
        values = [found.get(measure) for found in scores.values()]
        known = [value for value in values if value is not None]
        best = None if is_count(measure) else max(known) if is_higher_better(measure) else min(known)
        digits = ".0f" if is_count(measure) else ".4g"
        cells = [
            Cell("" if v is None else f"{v:{digits}}", best=best is not None and v == best) for v in values
        ]
        rows.append((f"{measure}\u00a0{arrow(measure)}", *cells))
    caption = "IoU and accuracy in percent, RMSE in metres. The best of each row is bold."
    return Table("Scores", caption, ("measure", *scores), tuple(rows))


def _pictures(config: RunConfig, column: SetColumn, methods: Sequence[Method]) -> tuple[PictureGroup, ...]:
    labelled, bench = open_set(column), Bench(config, device_of(config))
    predictors = {}
    for method in methods:
        backbone = method.load(config).on(bench.device)
        denoising = method.denoising_on(config, backbone)
        predictors[method.name] = segmenter(column, backbone, denoising, bench)
    return tuple(islice(_groups(labelled, predictors), config.evaluation.figures))


def _groups(labelled: LabelledSet, predictors: Mapping[str, Segmenter]) -> Iterator[PictureGroup]:
    """One by one those of all images that can be read and that no method refuses: no other is scored."""
    for index in range(len(labelled)):
        tell("drawing label maps")
        try:
            item = labelled[index]
            maps = {name: predictor.predict(item.image) for name, predictor in predictors.items()}
        except (DataError, NonFiniteError):
            continue
        yield _group(labelled, item, maps)


def _group(
    labelled: LabelledSet, item: LabelledImage, maps: Mapping[str, UInt8[np.ndarray, "H W"]]
) -> PictureGroup:
    names = titles(labelled.classes)
    shown = [*maps.items()] if item.labels is None else [("truth", item.labels), *maps.items()]
    panels = [Panel("image", photo(item.image), f"The image {item.key}", wide=True)]
    panels += [
        Panel(
            name, label_map_png(drawn, names), f"Label map of {item.key}: {name}", wide=drawn is item.labels
        )
        for name, drawn in shown
    ]
    return PictureGroup(item.key, tuple(panels), swatches=swatches(names, *(drawn for _, drawn in shown)))
