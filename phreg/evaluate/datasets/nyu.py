"""NYU depth v2 as files: 16-bit PNGs of millimetres beside JPEGs, with the official split.

Which depths count (1e-3 to 10 m, the Eigen crop) is the probe's to say: all measured depths are given.
"""

from pathlib import Path

from phreg.config.labels import LabelledSetConfig
from phreg.errors import DataError
from phreg.evaluate.datasets.layout import (
    entries,
    find_folder,
    inside,
    list_files,
    missing,
    read_split,
    require_same,
)
from phreg.evaluate.datasets.paired import Pair, PairedSet

_LAYOUT = (
    "one of: nyu_SPLIT.txt or nyudepthv2_SPLIT_files_with_gt.txt with lines `SCENE/rgb_N.jpg "
    "SCENE/sync_depth_N.png FOCAL`; SPLIT/SCENE/rgb_N.jpg with sync_depth_N.png (BTS); "
    "images/SPLIT/NAME.jpg with annotations/SPLIT/NAME.png (mmsegmentation). SPLIT: test or train"
)
_LISTS = ("nyu_{}.txt", "nyudepthv2_{}_files_with_gt.txt")
# Where the paths of a list begin, and where scenes lie without one. BTS keeps its training scenes in `sync`.
_PLACES = {
    "test": ("", "test", "official_splits/test"),
    "train": ("", "train", "sync", "official_splits/train"),
}
_IMAGE, _DEPTH = "rgb_", "sync_depth_"


def open_nyu(config: LabelledSetConfig, root: Path) -> PairedSet:
    """A set with depth and no labels."""
    split = config.split or "test"
    places = _PLACES.get(split, ("", split))
    lists = [root / name.format(split) for name in _LISTS if (root / name.format(split)).is_file()]
    if lists:
        pairs = _listed(lists[0], root, places)
    elif (root / "annotations" / split).is_dir():
        pairs = _converted(root, split)
    else:
        pairs = _scenes(root, places[1:])
    return PairedSet(config.kind, pairs[: config.images])


def _listed(path: Path, root: Path, places: tuple[str, ...]) -> list[Pair]:
    """The pairs of a list. Its paths may begin with `/`, which there means the data set's own folder."""
    names = []
    for words in read_split(path, _LAYOUT):
        if len(words) < 2:
            raise DataError(f"A line without a depth file in {path}", expected=_LAYOUT, found=" ".join(words))
        image, depth = (inside(word.lstrip("/"), str(path)) for word in words[:2])
        if depth != "None":  # some lists name images without depth so
            names.append((image, depth))
    if not names:
        raise DataError(f"No depth files are listed in {path}")
    base = find_folder(root, places, names[0][0], _LAYOUT)
    lacking = [base / name for pair in names for name in pair if not (base / name).is_file()]
    if lacking:
        raise DataError(
            f"{len(lacking)} files that {path} lists are missing",
            found=f"no {lacking[0]}",
            remedy="unpack the archive again; a download may have been cut short",
        )
    return [Pair(_key(image), base / image, depth=base / depth) for image, depth in names]


def _key(image: str) -> str:
    """`bathroom/rgb_00045.jpg` as `bathroom_00045`."""
    path = Path(image)
    return "_".join((*path.parts[:-1], path.stem.removeprefix(_IMAGE)))


def _converted(root: Path, split: str) -> list[Pair]:
    images = list_files(root / "images" / split, (".jpg",), _LAYOUT)
    depths = list_files(root / "annotations" / split, (".png",), _LAYOUT)
    require_same(images, depths, "a depth map")
    return [Pair(key, images[key], depth=depths[key]) for key in images]


def _scenes(root: Path, places: tuple[str, ...]) -> list[Pair]:
    base = next((root / place for place in places if (root / place).is_dir()), None)
    if base is None:
        raise missing([root / place for place in places], _LAYOUT)
    pairs = []
    for scene in (path for path in entries(base) if path.is_dir()):
        images, depths = _numbered(scene, _IMAGE, ".jpg"), _numbered(scene, _DEPTH, ".png")
        require_same(images, depths, "a depth map")
        pairs += [Pair(f"{scene.name}_{key}", images[key], depth=depths[key]) for key in images]
    if not pairs:
        raise missing([base / "SCENE"], _LAYOUT)
    return pairs


def _numbered(scene: Path, prefix: str, suffix: str) -> dict[str, Path]:
    """The files of a scene by their number."""
    files = list_files(scene, (suffix,), _LAYOUT)
    found = {key.removeprefix(prefix): path for key, path in files.items() if key.startswith(prefix)}
    if not found:
        raise missing([scene / f"{prefix}*{suffix}"], _LAYOUT)
    return found
