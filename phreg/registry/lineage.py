"""Lineage: what a student was made from and with, so that it can be made again.

It holds no host names, no credentials, and no paths but the URLs that stand in the config.
"""

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from phreg.errors import hide_credentials

PACKAGES = (
    "phreg",
    "torch",
    "torchvision",
    "timm",
    "open_clip_torch",
    "ray",
    "zarr",
    "numcodecs",
    "numpy",
    "pillow",
    "safetensors",
    "fsspec",
    "s3fs",
)
GIT_TIMEOUT_S = 10


def lineage(
    config: Mapping[str, Any],
    *,
    student_digest: str,
    target_specs: Mapping[str, str],
    train_shards: Mapping[str, str],
    validation_shards: Mapping[str, str],
    benchmark: str = "",
) -> dict[str, Any]:
    """Plain data for `lineage.json`.

    Args:
        config: the run's config as plain data; credentials in its URLs are hidden.
        student_digest: identity of the student job.
        target_specs: names of the targets used, with the digests of their specs.
        train_shards, validation_shards: names of the shards, with the digests of their contents.
        benchmark: digest of what the metrics were measured on.
    """
    return {
        "config": without_secrets(config),
        "student_digest": student_digest,
        "target_specs": without_secrets(target_specs),
        "train_shards": without_secrets(train_shards),
        "validation_shards": without_secrets(validation_shards),
        "benchmark": benchmark,
        "packages": package_versions(),
        "python": platform.python_version(),
        "git": git_state(),
    }


def without_secrets(value: Any) -> Any:
    """The same plain data with the user, password and query of every URL hidden (signed URLs have both).

    Paths stay as they are: in `photos@2x/a?b=1.tar` nothing is secret.
    """
    if isinstance(value, str):
        return hide_credentials(value) if "://" in value else value
    if isinstance(value, Mapping):
        return {without_secrets(str(key)): without_secrets(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(item) for item in value]
    return value


def package_versions() -> dict[str, str]:
    """Installed versions of the packages that a student's weights depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_state() -> dict[str, Any] | None:
    """Commit of the working directory's repository and whether it has uncommitted changes, if it is one."""
    commit = _git("rev-parse", "HEAD")
    status = _git("status", "--porcelain")
    if not commit or status is None:
        return None
    return {"commit": commit, "dirty": bool(status)}


def _git(*arguments: str) -> str | None:
    """Git's answer, None where there is no git, no repository or no answer in time."""
    program = shutil.which("git")
    if program is None:
        return None
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(  # noqa: S603 (fixed arguments, no shell)
            [program, *arguments], capture_output=True, text=True, timeout=GIT_TIMEOUT_S, env=environment
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
