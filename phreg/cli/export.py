"""`phreg export`."""

import argparse
from typing import Any

from phreg.cli.options import add_command, duration, pixels
from phreg.cli.progress import showing
from phreg.cli.tables import say
from phreg.errors import ConfigError

ENDINGS = {"onnx": ".onnx", "torch-export": ".pt2"}


def add(commands: Any) -> None:
    parser = add_command(
        commands, "export", export, "A student as ONNX, torch.export or open_clip, checked on images.",
        "phreg export runs/demo/registry/demo/champion --to onnx --output student.onnx --images photos\n"
        "phreg export runs/clip/registry/clip/champion --to open_clip --output clip-student",
    )  # fmt: skip
    parser.add_argument(
        "student", metavar="STUDENT", help="REGISTRY/MODEL/VERSION (or an alias), or another folder of one"
    )
    parser.add_argument("--to", choices=[*ENDINGS, "open_clip"], required=True)
    parser.add_argument(
        "--output",
        metavar="PATH",
        required=True,
        help="file or URL, .onnx or .pt2; of open_clip a new local folder",
    )
    parser.add_argument(
        "--image-size", type=pixels, help="pixels: one side, or HEIGHTxWIDTH; default: the student's"
    )
    parser.add_argument(
        "--images", metavar="IMAGES", nargs="+", default=[],
        help="files, globs, folders or .tar shards to check it on, the first 8 images; default: drawn scenes",
    )  # fmt: skip
    parser.add_argument(
        "--clip",
        metavar="MODEL",
        help="the CLIP whose image tower it becomes; default: the student's teacher",
    )
    parser.add_argument(
        "--clip-checkpoint", metavar="URL", help="weights of that CLIP, both towers; default: the teacher's"
    )
    parser.add_argument(
        "--tolerance", type=duration, default=1e-3,
        help="largest difference, relative to the root mean square of the features (0.001)",
    )  # fmt: skip


def export(options: argparse.Namespace) -> int:
    ending = ENDINGS.get(options.to, "")
    if not options.output.endswith(ending):
        raise ConfigError(f"--output {options.output!r} is no file for {options.to}", f"PATH{ending}")
    from phreg.pipeline.export import export_student
    from phreg.storage import Folder

    with showing("export"):
        checked = export_student(
            options.student,
            options.to,
            options.output,
            options.image_size,
            options.images,
            options.tolerance,
            options.clip,
            options.clip_checkpoint,
        )
    say(
        f"{options.output}: on {checked.images} images its features differ from the "
        f"student's by at most {checked.difference:.2g} ({checked.relative:.2g} of their root mean square)"
    )
    if ending:
        say("images: float32 RGB in [0, 1], [batch, 3, height, width]; features: [batch, channels, h, w]")
    else:
        say(
            f'open_clip.create_model_and_transforms("local-dir:{Folder(options.output).local_path}")\n'
            "its config names this folder: if that moves, change `timm_model_name` there"
        )
    return 0
