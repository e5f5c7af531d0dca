"""Finding files where an official archive puts them. All checks here read folders, never images."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from phreg.errors import ConfigError, DataError

_SHOWN = 3


def find_folder(root: Path, places: Sequence[str], holds: str, layout: str) -> Path:
    """The first of `places` below root that has the folder or file `holds` (or is one, if that is "").

    Raises `ConfigError` that lists every path that was looked for, and the layout expected.
    """
    for place in places:
        if (root / place / holds).exists():
            return root / place
    raise missing([root / place / holds for place in places], layout)


def missing(looked_for: Iterable[Path], layout: str) -> ConfigError:
    return ConfigError(
        "A data set is not in its official layout",
        expected=layout,
        found=f"none of {', '.join(map(str, looked_for))}",
        remedy="set `root` to the folder that the archive was unpacked to (README, Labelled sets)",
    )


def entries(folder: Path) -> list[Path]:
    """What is in a folder, sorted, hidden entries left out; nothing if there is no such folder.

    Raises `DataError` for one that may not be read.
    """
    if not folder.is_dir():
        return []
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"Cannot read the folder {folder}", found=error.strerror or "") from None


def list_files(folder: Path, suffixes: tuple[str, ...], layout: str) -> dict[str, Path]:
    """Files by name without suffix, sorted; hidden files left out.

    `suffixes` are lower-case name endings. Raises `ConfigError` for no such folder or none of its kind in it,
    and `DataError` for two files of one name.
    """
    if not folder.is_dir():
        raise missing([folder], layout)
    found: dict[str, Path] = {}
    for path in entries(folder):
        suffix = next((end for end in suffixes if path.name.lower().endswith(end)), None)
        if suffix is None:
            continue
        key = path.name[: -len(suffix)]
        if key in found:
            raise DataError("Two files of one name", found=f"{found[key]} and {path}", remedy="keep one")
        found[key] = path
    if not found:
        raise missing([folder / f"*{suffix}" for suffix in suffixes], layout)
    return found


def read_split(path: Path, layout: str) -> list[list[str]]:
    """The lines of a split file, each as its words; blank lines left out.

    Raises `ConfigError` (with the splits there are) for no such file and `DataError` for one without lines or
    that is no text.
    """
    if not path.is_file():
        there = sorted(other.stem for other in path.parent.glob(f"*{path.suffix}"))
        found = f"no {path}" + (f"; splits there: {', '.join(there)}" if there else "")
        raise ConfigError("No such split", expected=layout, found=found, remedy="set `split`")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read {path}", expected="a text file", found=type(error).__name__) from None
    words = [line.split() for line in lines if line.strip()]
    if not words:
        raise DataError(f"A split file is empty: {path}")
    return words


def inside(name: str, source: str) -> str:
    """The name, if it is a plain relative path. `source` says where it stands.

    Raises `DataError` for one that could leave the folder it belongs to.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or not path.parts:
        raise DataError(
            f"A name that could leave its folder, in {source}",
            expected="a relative path without `..`",
            found=repr(name)[:200],
        )
    return name


def require(keys: Iterable[str], there: Collection[str], folder: Path, what: str) -> None:
    """Raises `DataError` that says how many keys have no file in `folder`, and the first of them."""
    lacking = sorted(set(keys).difference(there))
    if lacking:
        raise DataError(
            f"{len(lacking)} of the set's files are missing in {folder}",
            expected=what,
            found="nothing for " + ", ".join(lacking[:_SHOWN]) + (", ..." if len(lacking) > _SHOWN else ""),
            remedy="unpack the archives again; a download may have been cut short",
        )


def require_same(images: Mapping[str, Path], others: Mapping[str, Path], what: str) -> None:
    """Every image has its file among `others`, and the reverse. Raises `DataError` with the first missing."""
    image_folder, other_folder = (next(iter(files.values())).parent for files in (images, others))
    require(images, others, other_folder, f"{what} for every image of {image_folder}")
    require(others, images, image_folder, f"an image for every file of {other_folder}")
