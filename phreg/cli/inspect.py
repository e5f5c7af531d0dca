"""`phreg inspect`."""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from phreg.cli.options import add_command, positive, print_table
from phreg.cli.progress import showing
from phreg.cli.tables import plain
from phreg.progress import tell


def add(commands: Any) -> None:
    parser = add_command(
        commands, "inspect", inspect, "Is this ViT dirty? Artifact measures and a figure, no pipeline.",
        "phreg inspect timm/vit_small_patch14_dinov2.lvd142m cat.jpg dog.jpg --figure dirty.png\n"
        "phreg inspect open_clip/ViT-B-16:openai photos/*.jpg --read-out value --image-size 336",
    )  # fmt: skip
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="timm/NAME[.TAG], open_clip/NAME:TAG, local-dir:PATH, open_clip-dir:PATH or phreg/small-clip",
    )
    parser.add_argument(
        "images", metavar="IMAGES", nargs="+", help="image files or URLs; of URLs globs, too; not folders"
    )
    parser.add_argument("--checkpoint", help="URL of weights, instead of a download")
    parser.add_argument(
        "--checkpoint-key", help="which network of a checkpoint with several: teacher.backbone"
    )
    parser.add_argument(
        "--head", choices=("projection", "classifier"), help="what a linear head is, if that is asked"
    )
    parser.add_argument("--image-size", type=positive, help="pixels; default: the model's")
    parser.add_argument(
        "--read-out", default="standard", help="standard, value, csa, naclip or qq (standard)"
    )
    parser.add_argument("--views", type=positive, default=10, help="views of the denoised reference (10)")
    parser.add_argument(
        "--figure", type=_png, default="inspection.png", help="PNG file of the figure (inspection.png)"
    )


def _png(path: str) -> str:
    """An argument that is the path of a PNG file."""
    if not path.lower().endswith(".png"):
        raise argparse.ArgumentTypeError(f"{path} does not end in .png: the figure is a PNG file")
    return path


def inspect(options: argparse.Namespace) -> int:
    import torch

    from phreg.data import expand_images
    from phreg.evaluate import inspect_model
    from phreg.models import load_backbone

    figure, images = Path(options.figure), expand_images(options.images)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with showing("inspecting"):
        backbone = load_backbone(
            options.model,
            options.checkpoint,
            options.image_size,
            options.read_out,
            head=options.head,
            checkpoint_key=options.checkpoint_key,
        )
        show = partial(tell, "measuring")
        inspection = inspect_model(backbone, images, options.views, 0, device, options.model, show)
    rows = [*inspection.per_image, {"image": "all"} | inspection.metrics]
    print_table([_row(row) for row in rows], "no images")
    for key, reason in inspection.skipped:
        print(plain(f"skipped {key}: {reason}"))
    figure.parent.mkdir(parents=True, exist_ok=True)
    figure.write_bytes(inspection.figure)
    print(f"\n{inspection.verdict}\nfigure: {options.figure}")
    return 1 if inspection.skipped else 0


def _row(row: dict[str, Any]) -> dict[str, str]:
    return {name: f"{value:.4f}" if isinstance(value, float) else str(value) for name, value in row.items()}
