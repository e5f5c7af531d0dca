"""Lets timm import a torchvision whose compiled operators do not fit the installed torch.

The package index's torchvision is a CUDA build. Beside a CPU-only torch its import fails because two
operators are not registered; phreg uses neither, so declaring their schemas is enough. Where
torchvision imports as it is, nothing happens.

`import phreg` only makes this come before torchvision's import, whoever asks for that: declaring needs torch,
whose import takes a second.
"""

import contextlib
import importlib.util
import re
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

_OPERATORS = ("nms", "qnms")
_libraries: list[Any] = []  # a declared schema lives as long as its library


class _BeforeTorchvision(MetaPathFinder):
    """Finds nothing; is asked first, once."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if name == "torchvision" and self in sys.meta_path:
            sys.meta_path.remove(self)
            make_importable()


def mend_when_imported() -> None:
    if "torchvision" not in sys.modules:
        sys.meta_path.insert(0, _BeforeTorchvision())


def make_importable() -> None:
    """Only for a GPU build of torchvision beside a CPU-only torch: where the two fit, torchvision's library
    registers the operators itself, and a second registration would end the process."""
    import torch

    if torch.version.cuda is not None or torch.version.hip is not None or not _is_gpu_build():
        return
    for name in _OPERATORS:
        if hasattr(torch.ops.torchvision, name):
            continue
        with contextlib.suppress(RuntimeError):  # already declared
            library = torch.library.Library("torchvision", "FRAGMENT")
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _libraries.append(library)


def _is_gpu_build() -> bool:
    """Told from the installed version, without importing it."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return False
    version = Path(spec.submodule_search_locations[0], "version.py")
    text = version.read_text() if version.is_file() else ""
    return re.search(r"__version__ = '[^']*\+(cu|rocm)", text) is not None
