"""What comes with an extra of the package (`pip install "phreg[ray]"`): asked for before it is imported."""

import importlib.util

from phreg.errors import ConfigError

EXTRAS = {
    "ray": "ray",
    "prefect": "prefect",
    "s3fs": "s3",
    "starlette": "serve",
    "uvicorn": "serve",
    **dict.fromkeys(("onnx", "onnxscript", "onnxruntime"), "onnx"),
}
"""Packages, each with the extra that it comes with."""


def installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def to_install(*packages: str) -> str:
    """The command that installs them; packages that are no extra of ours under their own names."""
    extras = dict.fromkeys(EXTRAS[package] for package in packages if package in EXTRAS)
    others = [package for package in packages if package not in EXTRAS]
    ours = [f'"phreg[{",".join(extras)}]"'] if extras else []
    return " ".join(["pip install", *ours, *others])


def require(asked: str, *packages: str) -> None:
    """Raises `ConfigError` unless all are installed. `asked`: what needs them, as users know it."""
    missing = [package for package in packages if not installed(package)]
    if missing:
        names = " and ".join(package.capitalize() for package in missing)
        raise ConfigError(f"{asked} needs {names}", found="not installed", remedy=to_install(*missing))
