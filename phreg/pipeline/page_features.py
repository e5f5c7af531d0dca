"""Pictures of features for the report page: teacher and student on the first held-out crops."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from phreg.config import RunConfig
from phreg.evaluate import held_out
from phreg.evaluate.measures import outliers, token_norms
from phreg.evaluate.panels import norm_scale
from phreg.evaluate.pca import colours
from phreg.fingerprint import digest_json
from phreg.models import load_student, load_teacher
from phreg.page import ColourBar, Panel, PictureGroup, Section, colour_png, heat_png, photo
from phreg.pipeline.assess import device_of, reference_store
from phreg.pipeline.prepare import Prepared
from phreg.progress import tell
from phreg.registry import Entry

FORMAT_VERSION = 1  # raise it when the same models would be drawn otherwise
NAMES = ("teacher", "student")
READING = (
    (
        "PCA map",
        "the three directions in which the features vary most, as red, green and blue; a square is a patch. "
        "Equal colours mean like features, in both maps of an image. Better: things in even colours with "
        "clear outlines, and no speckles that the image does not explain.",
    ),
    (
        "Norm map",
        "how long the feature vector of each patch is. Better: even. Patches far from the image's median are "
        "framed in red; these outliers are the artifacts that the student is to be rid of.",
    ),
)

Features = Float[Tensor, "C h w"]


def feature_inputs(config: RunConfig, entry: Entry, benchmark: str) -> str:
    """Digest of everything the pictures depend on; `benchmark` identifies teacher's targets and crops."""
    return digest_json(
        {
            "format_version": FORMAT_VERSION,
            "student": entry.record.files["model.safetensors"].sha256,
            "benchmark": benchmark,
            "figures": config.evaluation.figures,
        }
    )


def draw_features(
    config: RunConfig, prepared: Prepared, student_url: str, inputs: str
) -> tuple[Section, int]:
    """The section, and how many forward passes the teacher made for it. Raises `NonFiniteError`."""
    store, device = reference_store(config, prepared), device_of(config)
    crops = held_out(store, list(prepared.validation), config.evaluation.figures)
    models = [load_teacher(config.teacher).on(device), load_student(student_url).on(device)]
    groups = []
    for key, crop in zip(crops.keys, crops.crops, strict=True):
        batch = torch.from_numpy(crop)[None].to(device)
        groups.append(_group(key, crop, [m(m.normalize(batch))[0].cpu() for m in models]))
        tell("drawing", len(groups), len(crops))
    section = Section(
        "Features, before and after",
        "The teacher's features and the student's, of held-out images that the student did not learn from.",
        READING,
        pictures=tuple(groups),
        inputs=inputs,
    )
    return section, len(groups)


def _group(key: str, crop: UInt8[np.ndarray, "S S 3"], features: list[Features]) -> PictureGroup:
    """One image's panels; the two PCA maps share their colours, the two norm maps their scale."""
    side = f"{crop.shape[0]} x {crop.shape[1]} pixels"
    panels = [Panel("image", photo(crop), f"The held-out image {key}, {side}", wide=True)]
    for name, picture in zip(NAMES, colours(features), strict=True):
        alt = f"PCA map of the {name}'s features of {key}"
        panels.append(Panel(f"{name}: PCA", colour_png(picture), alt, pixelated=True))
    norms = [token_norms(f[None]).reshape(f.shape[1:]).numpy() for f in features]
    scale = norm_scale(norms)
    for name, norm in zip(NAMES, norms, strict=True):
        panels.append(_norm_panel(name, key, norm, np.asarray(scale(norm))))
    label = "norm, log scale" if type(scale).__name__ == "LogNorm" else "norm"
    bar = ColourBar(label, f"{scale.vmin:.3g}", f"{scale.vmax:.3g}")
    return PictureGroup(key, tuple(panels), bar)


def _norm_panel(
    name: str, key: str, norms: Float[np.ndarray, "h w"], fractions: Float[np.ndarray, "h w"]
) -> Panel:
    far = outliers(torch.from_numpy(norms).reshape(1, -1)).reshape(norms.shape).numpy()
    marks = tuple((int(row), int(column)) for row, column in np.argwhere(far))
    return Panel(
        f"{name}: norms, {len(marks)} outlier{'' if len(marks) == 1 else 's'}",
        heat_png(fractions),
        f"Norm map of the {name}'s features of {key}; {len(marks)} of {far.size} patches are outliers",
        pixelated=True,
        marks=marks,
    )
