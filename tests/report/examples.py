"""A report page with everything on it, and names that try to break out of it."""

import numpy as np

from phreg.evaluate.scores import IGNORE
from phreg.report import (
    Cell,
    ColourBar,
    Curve,
    Panel,
    PictureGroup,
    ReportPage,
    Section,
    Table,
    colour_png,
    heat_png,
    label_map_png,
    photo,
    swatches,
)

HOSTILE = "</style><script>alert(1)</script><img src=http://evil.example/x onerror='x'>\"'&\x00\u202e"
CLASSES = ("ground", "disc, round thing", HOSTILE)


def labels() -> np.ndarray:
    found = np.zeros((24, 24), np.uint8)
    found[4:12, 4:12], found[14:20, 8:20], found[:2] = 1, 2, IGNORE
    return found


def pictures(name: str = "scene-0", side: int = 96) -> PictureGroup:
    rng = np.random.default_rng(0)
    patches = rng.random((12, 12, 3))
    panels = (
        Panel("image", photo(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)), "The image", wide=True),
        Panel("teacher: PCA", colour_png(patches), "PCA map of the teacher", pixelated=True),
        Panel("student: PCA", colour_png(patches[::-1].copy()), "PCA map of the student", pixelated=True),
        Panel("teacher: norms", heat_png(*[patches[..., 0]] * 12, per_row=6), "Norms", pixelated=True,
              marks=((2, 3), (0, 11), (15, 70)), double=True),
        Panel("student: norms", heat_png(patches[..., 1]), "Norms", pixelated=True),
        Panel("truth", label_map_png(labels(), CLASSES), "True classes", pixelated=True, wide=True),
        Panel("before", label_map_png(labels().T.copy(), CLASSES), "Classes, teacher", pixelated=True),
        Panel("after", label_map_png(labels(), CLASSES), "Classes, student", pixelated=True),
    )  # fmt: skip
    return PictureGroup(name, panels, ColourBar("norm", "8.58", "11.4"), swatches(CLASSES, labels()))


def wide_table(columns: int = 14) -> Table:
    names = ("method", *(f"set number {i}" for i in range(columns)))
    rows = tuple((method, *(f"{i}.{i} ± 0.2" for i in range(columns))) for method in ("teacher", "student"))
    return Table("Open-vocabulary segmentation", "mIoU in per cent; higher is better.", names, rows)


def example(name: str = "photos: reg16", groups: int = 1) -> ReportPage:
    steps = [(float(i), 1 / i) for i in range(1, 200)]
    measures = Table(
        "Without labels",
        "Better is up or down.",
        ("measure", "teacher", "student"),
        ((Cell("outlier patches", "share of patches"), "0.0310", Cell("0.0020", best=True)),),
    )
    section = Section(
        "Features, before and after",
        "Held-out images.",
        (("PCA map", "colours of features"),),
        (wide_table(),),
        tuple(pictures(f"{name} {i}") for i in range(groups)),
    )
    return ReportPage(
        title=name,
        subtitle="Version 3",
        verdict="Better than its teacher in 1 of 1 measures.",
        badge="promoted to champion",
        good=True,
        reasons=(f"{name} beats the teacher",),
        measures=measures,
        sections=(section,),
        curves=(Curve("Loss", "the sum", tuple(steps), ((100.0, 0.02), (199.0, 0.01))),),
        loading=f"import timm  # {name} " + "x" * 300,
        making=(("teacher", "timm/vit_small" + "_long" * 40),),
        lineage=(("student's job", "0123456789abcdef" * 4), (name, name)),
        config='{\n  "name": "photos"\n}',
        inputs="d1",
    )
