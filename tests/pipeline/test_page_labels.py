"""The report page's label maps."""

import numpy as np

from phreg.demo.world.write import png
from phreg.pipeline.methods import Labelled, Measured
from phreg.pipeline.page_labels import draw_labels
from tests.pipeline.conftest import LabelledWorld


def test_pictures_are_of_images_that_no_method_refuses(labelled_world: LabelledWorld) -> None:
    thin, *_, last = labelled_world.images("test")
    for kind, shape, dtype in (
        ("images", (4, 100, 3), np.uint8), ("labels", (4, 100), np.uint8), ("depth", (4, 100), np.uint16)
    ):  # fmt: skip
        (thin.parents[1] / kind / thin.name).write_bytes(png(np.zeros(shape, dtype)))
    labelled = Labelled().add(labelled_world.teacher, Measured({"scenes mIoU": 1.0}))
    drawn = draw_labels(labelled_world.config, labelled_world.prepared, labelled, "inputs")
    assert [group.title for group in drawn.pictures] == [last.stem]
    assert [panel.caption for panel in drawn.pictures[0].panels] == ["image", "truth", "teacher"]


def test_a_set_that_a_method_could_not_segment_is_not_drawn(labelled_world: LabelledWorld) -> None:
    labelled = Labelled().add(labelled_world.teacher, Measured({"depth RMSE": 1.0}))
    drawn = draw_labels(labelled_world.config, labelled_world.prepared, labelled, "inputs")
    assert not drawn.pictures
