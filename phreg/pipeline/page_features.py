"""Pictures of features for the report page: teacher and student on the first held-out crops."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from phreg.config.run import RunConfig
from phreg.evaluate import Look, held_out
from phreg.evaluate.artifacts import relative
from phreg.evaluate.held_out import HeldOut
from phreg.evaluate.panels import norm_scale
from phreg.evaluate.pca import colours
from phreg.fingerprint import digest_json
from phreg.models import load_student, load_teacher
from phreg.pipeline.assess import device_of, look_at, reference_store, shifts_of
from phreg.pipeline.prepare import Prepared
from phreg.progress import tell
from phreg.registry import Entry
from phreg.report import ColourBar, Panel, PictureGroup, Section, colour_png, heat_png, photo, tile_places

FORMAT_VERSION = 2  # raise it when the same models would be drawn otherwise
NAMES = ("teacher", "student")
MOST_BLOCKS, PER_ROW = 12, 6
READING = (
    (
        "PCA map",
        "the three directions in which the features vary most, as red, green and blue; a square is a patch. "
        "Equal colours mean like features, in both maps of an image. Better: things in even colours with "
        "clear outlines, and no speckles that the image does not explain.",
    ),
    (
        "Norm maps",
        "how long the vector of each patch is, over the median of all, after each block and before the final "
        "norm: after it artifacts hide. Better: even. Artifacts are framed in red: patches far longer than "
        "the image's others, than their neighbours, and than the same content in some shifted view. The "
        "student is to be rid of them.",
    ),
)
UNSURE = (
    "Standard error",
    "how far each target, a mean over views, may be from the mean over all views there are, as a share of "
    "its length: told from how its views differ. Where it is large the teacher contradicts itself.",
)


def feature_inputs(config: RunConfig, entry: Entry, benchmark: str) -> str:
    """Digest of everything the pictures depend on; `benchmark` identifies teacher's targets and crops."""
    return digest_json(
        {
            "format_version": FORMAT_VERSION,
            "student": entry.record.files["model.safetensors"].sha256,
            "benchmark": benchmark,
            "figures": config.evaluation.figures,
            "shifts": [config.evaluation.shifts, config.evaluation.max_shift, config.seed],
        }
    )


def draw_features(
    config: RunConfig, prepared: Prepared, student_url: str, inputs: str
) -> tuple[Section, int]:
    """The section, and how many forward passes the teacher made for it. Raises `NonFiniteError`."""
    store, device = reference_store(config, prepared), device_of(config)
    crops = held_out(store, list(prepared.validation), config.evaluation.figures)
    models = [load_teacher(config.teacher).on(device), load_student(student_url).on(device)]
    shifts, groups = shifts_of(config, models[0]), []
    errors = standard_errors(crops)
    for number, (key, crop) in enumerate(zip(crops.keys, crops.crops, strict=True)):
        group = _group(key, crop, [look_at(model, crop, shifts) for model in models])
        if errors is not None:
            panel = _error_panel(key, errors[number].unflatten(0, store.spec.grid_size).numpy())
            group = replace(group, panels=(*group.panels, panel))
        groups.append(group)
        tell("drawing", len(groups), len(crops))
    section = Section(
        "Features, before and after",
        "The teacher's features and the student's, of held-out images that the student did not learn from.",
        READING if errors is None else (*READING, UNSURE),
        pictures=tuple(groups),
        inputs=inputs,
    )
    return section, len(groups) * (1 + len(shifts))


def standard_errors(crops: HeldOut) -> Float[Tensor, "n P"] | None:
    """Of each target, as a share of its length, where targets say how sure they are."""
    if crops.targets is None or crops.variance is None:
        return None
    length = crops.targets.norm(dim=-1).clamp(min=1e-12)
    return (crops.variance * crops.targets.shape[-1]).sqrt() / length


def _error_panel(key: str, errors: Float[np.ndarray, "h w"]) -> Panel:
    middle, most = f"{np.median(errors):.1%}", f"{errors.max():.1%}"
    return Panel(
        f"targets: standard error, {middle} of their length at the median, {most} at most",
        heat_png(errors / max(errors.max(), 1e-12)),
        f"Map of the standard error of the targets of {key}, brightest at {most} of their length",
        pixelated=True,
    )


def _group(key: str, crop: UInt8[np.ndarray, "S S 3"], looks: list[Look]) -> PictureGroup:
    """One image's panels; the two PCA maps share their colours, all norm maps their scale."""
    side = f"{crop.shape[0]} x {crop.shape[1]} pixels"
    panels = [Panel("image", photo(crop), f"The held-out image {key}, {side}", wide=True)]
    for name, picture in zip(NAMES, colours([seen.features[0] for seen in looks]), strict=True):
        alt = f"PCA map of the {name}'s features of {key}"
        panels.append(Panel(f"{name}: PCA", colour_png(picture), alt, pixelated=True))
    shown = [_shown_blocks(len(seen.norms[0]) - 1) for seen in looks]  # another network may have fewer
    ratios = [
        [relative(seen.norms[0, block]).numpy() for block in blocks]
        for seen, blocks in zip(looks, shown, strict=True)
    ]
    scale = norm_scale([one for maps in ratios for one in maps])
    for name, seen, blocks, maps in zip(NAMES, looks, shown, ratios, strict=True):
        panels.append(_norm_panel(name, key, blocks, seen, [np.asarray(scale(one)) for one in maps]))
    label = "norm over median, log scale" if type(scale).__name__ == "LogNorm" else "norm over median"
    bar = ColourBar(label, f"{scale.vmin:.3g}", f"{scale.vmax:.3g}")
    return PictureGroup(key, tuple(panels), bar)


def _shown_blocks(count: int) -> list[int]:
    """Indices of the blocks whose norms are shown: all, or of more than `MOST_BLOCKS` some evenly spread."""
    chosen = np.linspace(count - 1, 0, min(count, MOST_BLOCKS)).round().astype(int)
    return [int(block) for block in chosen[::-1]]


def _norm_panel(
    name: str, key: str, blocks: Sequence[int], seen: Look, fractions: Sequence[Float[np.ndarray, "h w"]]
) -> Panel:
    """The norm maps of one model, a block beside the other."""
    marks: list[tuple[int, int]] = []
    counts = []
    for (y, x), block in zip(tile_places(len(blocks), PER_ROW, fractions[0].shape), blocks, strict=True):
        found = seen.artifacts[0, block].nonzero().tolist()
        counts.append(len(found))
        marks += [(y + row, x + column) for row, column in found]
    most = max(counts)
    worst = f", most after block {blocks[counts.index(most)] + 1}: {most}" if most else ""
    after = f"after block{'s' * (len(blocks) > 1)} {', '.join(str(block + 1) for block in blocks)}"
    return Panel(
        f"{name}: norms {after}; {'artifacts' if most else 'no artifacts'}{worst}",
        heat_png(*fractions, per_row=PER_ROW),
        f"Norm maps of the {name}'s patches of {key} {after}; artifacts: {', '.join(map(str, counts))}",
        pixelated=True,
        marks=tuple(marks),
        double=True,
    )
