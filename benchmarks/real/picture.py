"""`python -m benchmarks.real.picture`: what denoising and students gain, from `results/*.csv`.

The picture of the README: points of mIoU over the teacher in one pass under the same read-out, and the 95 %
interval of each by a paired bootstrap over images.
"""

import csv
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results"
PROTOCOLS = ("VOC20", "VOC21", "CamVid")
_NEITHER = "whole naclip (1 view) to value, no registers, read value"
ROWS = (  # file, method, its name in the picture
    ("views", "teacher over ten views, read value", "teacher, ten passes (value)"),
    ("views", "teacher over ten views, read naclip", "teacher, ten passes (naclip)"),
    ("read-outs", "naclip to value, read value", "student, one pass (value)"),
    ("read-outs", "naclip (1 view) to value, read value", "same, targets not denoised"),
    ("read-outs", "naclip to naclip, read naclip", "student, one pass (naclip)"),
    ("read-outs", "naclip (1 view) to naclip, read naclip", "same, targets not denoised"),
    ("read-outs", "whole naclip to value, read value", "whole student, registers (value)"),
    ("read-outs", _NEITHER, "same, no registers, not denoised"),
)
GAIN, LOSS, UNCLEAR = "#1b7f6b", "#b23a2e", "#8a8a86"  # an interval above zero, below it, across it


def gains() -> dict[tuple[str, str, str], tuple[float, float, float]]:
    """Gain and its interval, by file, method and protocol."""
    found = {}
    for file in {row[0] for row in ROWS}:
        with (RESULTS / f"{file}.csv").open() as lines:
            for row in csv.DictReader(lines):
                if row["gain"]:
                    gain, low, high = (float(row[name]) for name in ("gain", "low", "high"))
                    found[file, row["method"], row["protocol"]] = gain, low, high
    return found


def draw() -> Figure:
    found = gains()
    figure = Figure(figsize=(9, 2.9), layout="constrained")
    axes = figure.subplots(1, len(PROTOCOLS), sharey=True)
    for axis, protocol in zip(axes, PROTOCOLS, strict=True):
        axis.axvline(0, color="#444", linewidth=0.8)
        for place, (file, method, _) in enumerate(ROWS):
            if (file, method, protocol) not in found:
                axis.text(0, place, " not measured", va="center", fontsize=7, color=UNCLEAR)
                continue
            gain, low, high = found[file, method, protocol]
            colour = GAIN if low > 0 else LOSS if high < 0 else UNCLEAR
            axis.plot([low, high], [place, place], color=colour, linewidth=2)
            axis.plot(gain, place, "o", color=colour, markersize=5)
        axis.set_title(protocol, fontsize=9)
        axis.set_xlim(-4, 6)
        axis.grid(axis="x", color="#e4e4e0")
        axis.tick_params(labelsize=8, length=0)
        axis.spines[["top", "right", "left"]].set_visible(False)
    axes[0].set_yticks(range(len(ROWS)), [name for _, _, name in ROWS])
    axes[0].invert_yaxis()
    figure.supxlabel("points of mIoU over the teacher in one pass, same read-out (95 % interval)", fontsize=8)
    return figure


if __name__ == "__main__":
    with rc_context({"svg.hashsalt": "phreg"}):
        draw().savefig(RESULTS / "gains.svg", facecolor="white", metadata={"Date": None})
