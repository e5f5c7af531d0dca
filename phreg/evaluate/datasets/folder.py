"""Any folder of images with index masks, depth maps, or both; our own scenes are written so."""

from pathlib import Path

from phreg.config.labels import LabelledSetConfig
from phreg.errors import ConfigError
from phreg.evaluate.datasets.label_map import as_stored, without_zero
from phreg.evaluate.datasets.layout import list_files, missing, require_same
from phreg.evaluate.datasets.names import read_names
from phreg.evaluate.datasets.paired import ClassNames, Pair, PairedSet

_LAYOUT = (
    "ROOT[/SPLIT]/images/NAME.(jpg|jpeg|png|webp) with labels/NAME.png (8-bit class indices), depth/NAME.png "
    "(16-bit millimetres) or both beside it, and for labels a classes.txt in ROOT or ROOT/SPLIT"
)
_IMAGES = (".jpg", ".jpeg", ".png", ".webp")


def open_folder(config: LabelledSetConfig, root: Path) -> PairedSet:
    """Stored: class indices in the order of `classes.txt`; 255 and the config's `ignore` do not count.

    A first class named `background` stands for everything unnamed; where 0 does not count, it is no class.
    """
    base = root / (config.split or "")
    if not (base / "images").is_dir():
        raise _no_images(root, base)
    images = list_files(base / "images", _IMAGES, _LAYOUT)
    labels = _beside(images, base / "labels")
    depth = _beside(images, base / "depth")
    if not labels and not depth:
        raise missing([base / "labels", base / "depth"], _LAYOUT)
    pairs = [Pair(key, image, labels.get(key), depth.get(key)) for key, image in images.items()]
    name = root.resolve().name or "folder"
    if not labels:
        return PairedSet(name, pairs[: config.images])
    classes = _classes(root, base)
    has_background = classes[0][0].lower() == "background"
    if has_background and 0 in config.ignore and len(classes) > 1:
        label_map = without_zero(len(classes) - 1, config.ignore)
        return PairedSet(name, pairs[: config.images], classes[1:], label_map)
    label_map = as_stored(len(classes), config.ignore)
    return PairedSet(name, pairs[: config.images], classes, label_map, 0 if has_background else None)


def _classes(root: Path, base: Path) -> ClassNames:
    places = [base / "classes.txt", root / "classes.txt"]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise missing(dict.fromkeys(places), _LAYOUT)
    return read_names(found)


def _no_images(root: Path, base: Path) -> ConfigError:
    splits = sorted(path.parent.name for path in root.glob("*/images"))
    if not splits:
        return missing([base / "images"], _LAYOUT)
    return ConfigError(
        f"No images in {base}",
        expected=_LAYOUT,
        found=f"no {base / 'images'}; splits there: {', '.join(splits)}",
        remedy="set `split` to one of them",
    )


def _beside(images: dict[str, Path], folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    files = list_files(folder, (".png",), _LAYOUT)
    require_same(images, files, f"a file in {folder.name}/")
    return files
