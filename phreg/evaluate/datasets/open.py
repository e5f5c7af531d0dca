"""From a config to a labelled set, checked before anything starts."""

from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from phreg.config.labels import LabelledSetConfig, SetKind
from phreg.errors import ConfigError
from phreg.evaluate.datasets.ade20k import open_ade20k
from phreg.evaluate.datasets.base import LabelledSet
from phreg.evaluate.datasets.cityscapes import open_cityscapes
from phreg.evaluate.datasets.coco import open_coco
from phreg.evaluate.datasets.context import open_context
from phreg.evaluate.datasets.folder import open_folder
from phreg.evaluate.datasets.nyu import open_nyu
from phreg.evaluate.datasets.voc import open_voc
from phreg.evaluate.scores import IGNORE

_READERS: Mapping[SetKind, Callable[[LabelledSetConfig, Path], LabelledSet]] = {
    "voc21": open_voc,
    "voc20": open_voc,
    "context60": open_context,
    "context59": open_context,
    "coco_object": open_coco,
    "coco_stuff": open_coco,
    "cityscapes": open_cityscapes,
    "ade20k": open_ade20k,
    "nyu_depth": open_nyu,
    "folder": open_folder,
}


def open_set(config: LabelledSetConfig) -> LabelledSet:
    """Find a set's files; no image is read yet.

    Raises `ConfigError` where the folder, its layout or the split is not there, and `DataError` where images
    and labels do not pair, or a list of files is broken.
    """
    _check(config)
    root = Path(config.root).expanduser()
    if not root.is_dir():
        raise ConfigError(
            f"No such folder: {root}",
            expected=f"the folder that the archive of `{config.kind}` was unpacked to",
            remedy="set `root`",
        )
    return _READERS[config.kind](config, root)


def _check(config: LabelledSetConfig) -> None:
    if config.ignore and config.kind != "folder":
        raise ConfigError(f"`ignore` is for `folder`; `{config.kind}` has its own", remedy="leave it out")
    if any(not 0 <= value <= IGNORE for value in config.ignore):
        raise ConfigError("A value of `ignore` is no label", f"0 to {IGNORE}", str(config.ignore))
    if config.split is None:
        return
    path = PurePosixPath(config.split)
    if not path.parts or path.is_absolute() or ".." in path.parts or {"\\", "\0"} & set(config.split):
        raise ConfigError("`split` is no name", "the name of a split or subfolder", repr(config.split))
