"""Export: a student as other programs take it, written once it computes the same on real images."""

import itertools
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from phreg.data import cut_middle, decode_image, expand_images, read_shard
from phreg.data.pack_source import list_images
from phreg.demo.world.scenes import draw_scene
from phreg.errors import (
    ConfigError,
    DataError,
    ModelError,
    ObjectNotFoundError,
    SampleError,
)
from phreg.models import Student, load_student, load_text
from phreg.models.clip_export import OpenClip, clip_files
from phreg.models.graphs import FromPixels, Run, as_onnx, as_torch_export, run_onnx, run_torch_export
from phreg.models.hub import CONFIG_FILE
from phreg.models.registered import read_as_registered
from phreg.models.sizes import resize
from phreg.progress import tell
from phreg.registry import Registry
from phreg.storage import Folder, read_url

MOST_IMAGES = 8
SCENES = 4
TEXTS = ["a photo of a cat", "a diagram"]
TOLERANCE = 1e-3
"""Of the largest difference, relative to the root mean square of the student's features."""
_GRAPHS = {"onnx": (as_onnx, run_onnx), "torch-export": (as_torch_export, run_torch_export)}


class Checked(NamedTuple):
    """How far an export is from its student: the largest difference, absolute and relative to the root mean
    square of what the student gives, on so many images."""

    difference: float
    relative: float
    images: int


def export_student(
    student: str,
    to: str,
    output: str,
    image_size: int | tuple[int, int] | None = None,
    images: Sequence[str] = (),
    tolerance: float = TOLERANCE,
    clip: str | None = None,
    clip_checkpoint: str | None = None,
) -> Checked:
    """Write a student to the file or URL `output`, `to` `onnx` or `torch-export` (see `models/graphs.py`);
    or, `to` `open_clip`, to the new local folder `output`, as the image tower of `clip` with the weights of
    `clip_checkpoint` (default: its teacher, with its own).

    `student` is a folder in timm's hub layout, or REGISTRY/MODEL/ALIAS. `images` are image files, globs,
    folders and `.tar` shards, of which the first few are taken; without any, scenes are drawn.

    Raises `ModelError` if the two differ by more than the tolerance; nothing is written then. `ConfigError`
    for an output or options that do not fit the format.
    """
    _check_options(to, output, clip or clip_checkpoint)
    place = student_folder(student)
    model = load_student(place)
    resize(model.vit, image_size, model.pos_embed_resize)
    crops = _crops(images, model.image_size)
    tell(f"exporting to {to}")
    if to == "open_clip":
        name, checkpoint = (clip, None) if clip else _teacher(place)
        return _export_clip(model, name, clip_checkpoint or checkpoint, Folder(output), crops, tolerance)
    write, read = _GRAPHS[to]
    data = write(model)
    tell("checking")
    checked = compare(FromPixels(model), read(data), crops)
    check_tolerance(checked, tolerance, to)
    folder, name = folder_and_name(output)
    folder.write(name, data)
    return checked


def folder_and_name(output: str) -> tuple[Folder, str]:
    """Of a file's path or URL."""
    folder, slash, name = output.rpartition("/")
    return Folder(folder + slash or os.curdir), name


def _check_options(to: str, output: str, clip: str | None) -> None:
    if to != "open_clip":
        if clip:
            raise ConfigError("--clip and --clip-checkpoint are for open_clip", "--to open_clip", to)
        return
    folder = Folder(output)
    if not folder.is_local:
        raise ConfigError("open_clip reads local folders alone", "--output FOLDER", output)
    if there := folder.children():
        raise ConfigError(
            f"--output {folder.url} is not empty",
            expected="a new folder, or an empty one: it becomes a CLIP's own",
            found=", ".join(there[:5]),
            remedy="name another; or remove it, if it is a former export",
        )


def _export_clip(
    model: Student,
    clip: str,
    checkpoint: str | None,
    out: Folder,
    crops: UInt8[np.ndarray, "N H W 3"],
    tolerance: float,
) -> Checked:
    """Tried out in a folder of its own first: open_clip reads nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        for name, data in clip_files(model, clip, checkpoint, Path(folder)).items():
            (Path(folder) / name).write_bytes(data)
        tell("checking")
        theirs = OpenClip(Path(folder))
    mean, std = model.mean[:, None, None], model.std[:, None, None]
    checked = compare(lambda pixels: model.class_tokens((pixels - mean) / std), theirs.images, crops)
    check_tolerance(checked, tolerance, "open_clip")
    texts = float((theirs.texts(TEXTS) - load_text(clip, checkpoint)(TEXTS)).abs().max())
    check_tolerance(Checked(texts, texts, len(TEXTS)), tolerance, "open_clip, of texts,")
    for name, data in clip_files(model, clip, checkpoint, out.local_path).items():
        out.write(name, data)
    return checked


def _teacher(place: str) -> tuple[str, str | None]:
    """Name and checkpoint of the teacher of a registered student. Raises `ConfigError` for another, and
    `RegistryError` where its lineage was altered."""
    try:
        teacher = json.loads(read_as_registered(Folder(place), "lineage.json"))["config"]["teacher"]
        return teacher["model"], teacher.get("checkpoint")
    except (ObjectNotFoundError, ValueError, KeyError, TypeError):
        raise ConfigError(
            f"It is not known of which CLIP {place} is a student",
            expected="a registered student, whose lineage.json tells its teacher",
            remedy="name it by --clip, for instance open_clip/ViT-B-16:openai",
        ) from None


def compare(model: Run, export: Run, crops: UInt8[np.ndarray, "N H W 3"]) -> Checked:
    """The first image by itself, the others together: a batch of one is where exports go wrong."""
    pixels = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
    wanted, found = (_in_two(run, pixels) for run in (model, export))
    difference = float((found - wanted).abs().max())
    return Checked(difference, difference / float(wanted.square().mean().sqrt()), len(crops))


@torch.no_grad()
def _in_two(run: Run, pixels: Float[Tensor, "N 3 H W"]) -> Tensor:
    return torch.cat([run(part) for part in (pixels[:1], pixels[1:]) if len(part)])


def check_tolerance(checked: Checked, tolerance: float, to: str) -> None:
    if not checked.relative <= tolerance:  # NaN is none
        raise ModelError(
            f"The export to {to} does not compute what the student does, and was not written",
            expected=f"features that differ by at most {tolerance:g} of their root mean square",
            found=f"{checked.relative:.2g} of it ({checked.difference:.2g}) on {checked.images} images",
            remedy="allow more by --tolerance, if that is close enough for you; else please report it",
        )


def student_folder(place: str) -> str:
    """The folder that is meant: itself, or the version of REGISTRY/MODEL that an alias points at."""
    place = place.removeprefix("local-dir:").rstrip("/")
    registry, model, which = ["", "", *place.rsplit("/", 2)][-3:]
    if registry and not Folder(place).exists(CONFIG_FILE):
        known = Registry(Folder(registry))
        if model in known.models():
            return known.entry(model, which).url
    return place


def _crops(given: Sequence[str], size: tuple[int, int]) -> UInt8[np.ndarray, "N H W 3"]:
    """The middle of each of the first images, at the student's size. Raises `DataError` if none decodes."""
    if not given:
        scenes = (draw_scene(0, index, max(size)).image for index in range(SCENES))
        return np.stack([cut_middle(Image.fromarray(scene), *size) for scene in scenes])
    crops, wrong = [], ""
    for name, data in itertools.islice(_encoded(given), MOST_IMAGES):
        try:
            crops.append(cut_middle(decode_image(data), *size))
        except SampleError as error:
            wrong = f"{name}: {error.problem}"
    if not crops:
        raise DataError("None of the images can be used", "at least one that decodes", wrong)
    return np.stack(crops)


def _encoded(given: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    for place in given:
        if place.endswith(".tar"):
            yield from ((sample.key, sample.image) for sample in read_shard(place).samples)
        elif os.path.isdir(os.path.expanduser(place)):
            folder = Folder(place)
            yield from ((path, folder.read(path)) for path in list_images(folder))
        else:
            yield from ((url, read_url(url)) for url in expand_images([place]))
