"""What a run leans on, looked at one by one: packages, torch and its device, Ray, storage."""

import contextlib
import itertools
import os
import secrets
import time
from dataclasses import dataclass
from importlib import metadata

from packaging.requirements import Requirement

from phreg.config.model import Device
from phreg.device import choose, gpus_here
from phreg.errors import PhregError
from phreg.extras import EXTRAS, installed, to_install
from phreg.progress import tell
from phreg.storage import Creation, Folder

OK, NOTE, WRONG = "ok", "note", "wrong"
LARGE_BYTES = 8 * 10**6  # the order of an object of targets


@dataclass(frozen=True)
class Finding:
    """What was looked at, whether a run can do with it, what is there, and what to do if it cannot."""

    check: str
    state: str
    found: str
    remedy: str = ""


def examine(url: str | None = None, ray_address: str | None = None, wanted: Device = "auto") -> list[Finding]:
    """All there is to find. `url`: a folder for runs; what is written there is removed again.

    `wanted`: the device that this machine should have."""
    findings = []
    for check in (packages, torchvision):
        tell(f"looking at {check.__name__}")
        findings.append(check())
    findings.append(device(wanted))
    tell("looking for Ray")
    findings.append(ray_cluster(ray_address or os.environ.get("RAY_ADDRESS")))
    return findings + (storage(url) if url else [])


def packages() -> Finding:
    """Whether the installed versions are those that this phreg was made for."""
    lines = [Requirement(line) for line in metadata.requires("phreg") or ()]
    extras = ["", *(extra for package, extra in EXTRAS.items() if installed(package))]
    needed = [
        each
        for each in lines
        if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in extras)
    ]
    wrong = [words for each in needed if (words := _unfit(each))]
    if wrong:
        return Finding(
            "packages", WRONG, "; ".join(wrong), "install phreg anew, into an environment of its own"
        )
    return Finding("packages", OK, f"all {len(needed)} fit phreg {metadata.version('phreg')}")


def _unfit(needed: Requirement) -> str:
    try:
        there = metadata.version(needed.name)
    except metadata.PackageNotFoundError:
        return f"{needed.name} is missing"
    fits = needed.specifier.contains(there, prereleases=True)
    return "" if fits else f"{needed.name} is {there}, not {needed.specifier}"


def torchvision() -> Finding:
    """Whether its compiled operators work beside this torch; phreg itself uses none of them."""
    import torch
    import torchvision as installed

    versions = f"torch {torch.__version__}, torchvision {installed.__version__}"
    try:
        installed.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
    except (RuntimeError, NotImplementedError):
        return Finding(
            "torchvision", NOTE, f"{versions}: its operators do not work with this torch",
            "nothing, for phreg; for other uses install the build of torchvision that fits torch",
        )  # fmt: skip
    return Finding("torchvision", OK, versions)


def device(wanted: Device = "auto") -> Finding:
    """What this machine would compute on; on a cluster, every node has its own."""
    try:
        choice = choose(wanted, gpus_here)
    except PhregError as error:
        return failed("device", error)
    if choice.device == "cpu" and wanted == "auto" and (remedy := gpus_here().remedy):
        return Finding("device", WRONG, str(choice), remedy)
    return Finding("device", OK, f"{choice}, {os.cpu_count()} CPUs")


def not_installed(check: str, package: str) -> Finding:
    """Of a package that comes with an extra: something to know, and no fault."""
    return Finding(check, NOTE, "not installed; phreg run, table and demo need it", to_install(package))


def ray_cluster(address: str | None) -> Finding:
    if not installed("ray"):
        return not_installed("Ray", "ray")
    from phreg.execution.cluster import check_address

    if address in (None, "local"):
        return Finding("Ray", OK, "no cluster is named: a run starts a Ray of its own on this machine")
    assert address is not None
    try:
        there = check_address(address)
    except PhregError as error:
        return failed("Ray", error)
    return Finding("Ray", OK, f"a cluster answers at {address}; {there.words}")


def storage(url: str) -> list[Finding]:
    """Whether objects come back as they were put, how fast, and whether none is ever replaced unasked."""
    folder, name = Folder(url), f"phreg-doctor-{secrets.token_hex(8)}"
    is_new = folder.is_local and not folder.local_path.exists()
    tell("writing to and reading from the store")
    try:
        try:
            return [_transfers(folder / name), _creation(folder)]
        finally:
            folder.remove_all(name)
            if is_new:
                with contextlib.suppress(OSError):  # somebody has begun to use it
                    folder.local_path.rmdir()
    except PhregError as error:
        return [failed("storage", error)]


def _transfers(place: Folder) -> Finding:
    data, times = secrets.token_bytes(LARGE_BYTES), [time.perf_counter()]
    for step in (
        lambda: place.write("small", b"x"),
        lambda: place.write("large", data),
        lambda: place.read("large"),
    ):
        found = step()
        times.append(time.perf_counter())
    small, put, got = (max(after - before, 1e-6) for before, after in itertools.pairwise(times))
    if found != data:
        return Finding(
            "storage", WRONG, "an object that was read is not what was written", "use another store"
        )
    rates = f"{LARGE_BYTES / put / 1e6:.0f} MB/s written, {LARGE_BYTES / got / 1e6:.0f} MB/s read"
    return Finding("storage", OK, f"{rates}, {1000 * small:.0f} ms for a small object")


def _creation(folder: Folder) -> Finding:
    answer = folder.creation
    said = f"when an object of that name is there, the store {answer.value}"
    if answer is Creation.EXCLUSIVE:
        return Finding("creation", OK, said)
    return Finding("creation", NOTE, said, "let one run at a time write to one cache and registry")


def failed(check: str, error: PhregError) -> Finding:
    found = f"{error.problem}; {error.found}" if error.found else error.problem
    return Finding(check, WRONG, found, error.remedy)
