"""Lets timm import a torchvision whose compiled operators do not fit the installed torch.

The package index's torchvision is a CUDA build. Beside a CPU-only torch its import fails because two
operators are not registered; phreg uses neither, so declaring their schemas is enough. Where
torchvision imports as it is, nothing happens.
"""

import contextlib

import torch

_OPERATORS = ("nms", "qnms")
_libraries: list[torch.library.Library] = []  # a declared schema lives as long as its library


def make_importable() -> None:
    if torch.version.cuda is not None or torch.version.hip is not None:
        return
    for name in _OPERATORS:
        if hasattr(torch.ops.torchvision, name):
            continue
        with contextlib.suppress(RuntimeError):  # already declared
            library = torch.library.Library("torchvision", "FRAGMENT")
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _libraries.append(library)
