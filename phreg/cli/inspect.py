"""`phreg inspect`."""

import argparse
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phreg.cli.fail_rules import FailRule, fail_rule
from phreg.cli.options import add_command, add_device, pixels, positive, print_table
from phreg.cli.progress import showing
from phreg.cli.tables import plain, say, warn
from phreg.progress import tell

if TYPE_CHECKING:
    from phreg.evaluate import Inspection


def add(commands: Any) -> None:
    parser = add_command(
        commands, "inspect", inspect, "Is this ViT dirty? Artifact measures and a figure, no pipeline.",
        "phreg inspect timm/vit_small_patch14_dinov2.lvd142m cat.jpg dog.jpg --figure dirty.png\n"
        "phreg inspect open_clip/ViT-B-16:openai photos/*.jpg --layers --image-size 336\n"
        "phreg inspect local-dir:student photos/*.jpg --fail-if 'artifact_rate > 0.01'",
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
    parser.add_argument(
        "--image-size", type=pixels, help="pixels: one side, or HEIGHTxWIDTH; default: the model's"
    )
    parser.add_argument(
        "--read-out", default="standard", help="standard, value, csa, naclip or qq (standard)"
    )
    parser.add_argument("--views", type=positive, default=10, help="views of the denoised reference (10)")
    add_device(parser)
    parser.add_argument(
        "--figure", type=_png, default="inspection.png", help="PNG file of the figure (inspection.png)"
    )
    parser.add_argument(
        "--layers",
        action="store_true",
        help="also a table of artifacts and norms after each block",
    )
    parser.add_argument(
        "--fail-if",
        type=fail_rule,
        action="append",
        default=[],
        metavar="RULE",
        help="end with exit code 1 if it holds, such as 'artifact_rate > 0.01'; may be given several times",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")


def _png(path: str) -> str:
    """An argument that is the path of a PNG file."""
    if not path.lower().endswith(".png"):
        raise argparse.ArgumentTypeError(f"{path} does not end in .png: the figure is a PNG file")
    return path


def inspect(options: argparse.Namespace) -> int:
    from phreg.data import expand_images
    from phreg.device import device_here
    from phreg.evaluate import inspect_model
    from phreg.models import load_backbone

    figure, images = Path(options.figure), expand_images(options.images)
    device = device_here(options.device)
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
    figure.parent.mkdir(parents=True, exist_ok=True)
    figure.write_bytes(inspection.figure)
    broken = [rule for rule in options.fail_if if rule.holds(inspection.metrics)]
    if options.json:
        print(json.dumps(_report(options, inspection, broken), indent=2))
    else:
        _print(options, inspection)
    for rule in broken:
        warn(f"failed: {rule}: it is {inspection.metrics[rule.metric]:.6g}")
    return 1 if inspection.skipped or broken else 0


def _print(options: argparse.Namespace, inspection: "Inspection") -> None:
    rows = [*inspection.per_image, {"image": "all"} | inspection.metrics]
    print_table([_row(row) for row in rows], "no images")
    if options.layers:
        print_table([_row(row) for row in inspection.layers], "no blocks")
    for key, reason in inspection.skipped:
        say(plain(f"skipped {key}: {reason}"))
    say(f"\n{inspection.verdict}\nfigure: {options.figure}")


def _report(
    options: argparse.Namespace, inspection: "Inspection", broken: Sequence[FailRule]
) -> dict[str, Any]:
    return {
        "model": options.model,
        "verdict": inspection.verdict,
        "metrics": inspection.metrics,
        "layers": inspection.layers,
        "images": inspection.per_image,
        "skipped": [item._asdict() for item in inspection.skipped],
        "failed": [str(rule) for rule in broken],
        "figure": options.figure,
    }


def _row(row: Mapping[str, Any]) -> dict[str, str]:
    return {name: f"{value:.4f}" if isinstance(value, float) else str(value) for name, value in row.items()}
