"""Students as graphs that other programs run: ONNX, and torch.export's `.pt2`. Neither needs phreg or timm.

A graph maps images (float32 RGB in [0, 1], [B, 3, H, W], B free, H and W the student's own) to dense features
[B, C, h, w] under the student's read-out. The normalisation is in it, so that nobody can forget it.
"""

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from phreg.errors import ModelError
from phreg.extras import require
from phreg.models.backbone import Backbone

MOST_ONNX_BYTES = 2_000_000_000  # protobuf's limit is 2 GiB; more takes files of weights beside the graph
Run = Callable[[Float[Tensor, "B 3 H W"]], Float[Tensor, "B C h w"]]


class FromPixels(nn.Module):
    """A backbone that normalises its images itself."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        mean, std = self.backbone.mean[:, None, None], self.backbone.std[:, None, None]
        out: Tensor = self.backbone((images - mean) / std)
        return out


def as_torch_export(backbone: Backbone) -> bytes:
    """A `.pt2` file, for `torch.export.load` and AOTInductor."""
    file = io.BytesIO()
    torch.export.save(_traced(backbone), file)
    return file.getvalue()


def run_torch_export(data: bytes) -> Run:
    """What the file's own program computes."""
    with _quiet():
        return torch.export.load(io.BytesIO(data)).module()


def as_onnx(backbone: Backbone) -> bytes:
    """An ONNX file. Raises `ModelError` for a network that is too large for one file."""
    require("--to onnx", "onnx", "onnxscript", "onnxruntime")
    size = sum(parameter.nbytes for parameter in backbone.parameters())
    if size > MOST_ONNX_BYTES:
        raise ModelError(
            "The model is too large for one ONNX file",
            expected=f"weights of at most {MOST_ONNX_BYTES / 1e9:g} GB",
            found=f"{size / 1e9:.1f} GB",
            remedy="export it by --to torch-export",
        )
    traced = _traced(backbone)
    with _quiet():
        program = torch.onnx.export(
            traced,
            dynamo=True,
            verbose=False,
            input_names=["images"],
            output_names=["features"],
            dynamic_shapes={"images": {0: "batch"}},
        )
    assert program is not None
    program.model.doc_string = "images: RGB in [0, 1], [B, 3, H, W]; features: [B, C, h, w]"
    data: bytes = program.model_proto.SerializeToString()
    return data


def run_onnx(data: bytes) -> Run:
    """What ONNX Runtime computes from the file, on the CPU."""
    require("--to onnx", "onnxruntime")
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["features"], {"images": images.numpy()})[0])


def _traced(backbone: Backbone) -> torch.export.ExportedProgram:
    example = torch.zeros(2, 3, *backbone.image_size)  # of one image torch takes the batch for fixed
    with torch.no_grad(), _quiet():
        return torch.export.export(
            FromPixels(backbone).eval(),
            (example,),
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporters say to their own developers."""
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
