"""Class embeddings as the benchmark's sets want them, made from the files beside the weights."""

from pathlib import Path

import numpy as np
import safetensors.numpy

from phreg.evaluate.datasets.names import official_names

VOC_FILE, CITYSCAPES_FILE, ADE_FILE = (f"text/{n}_single.npy" for n in ("voc12_wbg", "cityscapes", "ade"))
FILES = (VOC_FILE, CITYSCAPES_FILE, ADE_FILE)
CAMVID = {  # CamVid's names for classes of Cityscapes
    "sky": "sky", "building": "building", "pole": "pole", "road": "road", "pavement": "sidewalk",
    "tree": "vegetation", "sign symbol": "traffic sign", "fence": "fence", "car": "car",
    "pedestrian": "person", "bicyclist": "rider",
}  # fmt: skip


def voc_names(weights: Path, out: Path) -> Path:
    """Vectors under names: VOC's classes and background, and the grounds and walls among ADE20K's classes."""
    rows = np.load(weights / VOC_FILE).astype(np.float32)
    ade = np.load(weights / ADE_FILE).astype(np.float32)
    named = {name: ade[i] for i, of_class in enumerate(official_names("ade20k")) for name in of_class}
    named |= {of_class[0]: rows[i] for i, of_class in enumerate(official_names("voc21"))}
    return _written(named, out / "voc-names.safetensors")


def camvid_names(weights: Path, out: Path) -> Path:
    rows = np.load(weights / CITYSCAPES_FILE).astype(np.float32)
    at = {name: i for i, of_class in enumerate(official_names("cityscapes")) for name in of_class}
    named = {own: rows[at[theirs]] for own, theirs in CAMVID.items()}
    return _written(named, out / "camvid-names.safetensors")


def _written(named: dict[str, np.ndarray], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.numpy.save_file({n: np.ascontiguousarray(v) for n, v in named.items()}, path)
    return path
