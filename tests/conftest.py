"""Fixtures: the shared folder where there is one, and a real S3 endpoint over HTTP (moto's server)."""

import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

for _name in ("COLUMNS", "LINES"):  # pytest-xdist sets them; tables are to be as wide as they are
    os.environ.pop(_name, None)
settings.register_profile("untimed", deadline=None, print_blob=True)  # no test depends on the machine's speed
settings.load_profile("untimed")

METHOD = Path(__file__).resolve().parents[1] / "phreg" / "method"

# Shapes are checked at run time in tests, before the modules are imported.
_CHECKED = [
    "phreg.cache.encodings",
    "phreg.data.crops",
    "phreg.evaluate.datasets",
    *(f"phreg.method.{file.stem}" for file in METHOD.glob("*.py") if file.stem not in ("__init__", "views")),
    "phreg.method.loss",
    "phreg.distill.samples",
    "phreg.distill.step",
    "phreg.evaluate",
    "phreg.generate",
    "phreg.models",
    "phreg.evaluate.probe",
    "phreg.evaluate.scores",
    "phreg.evaluate.segment",
    "phreg.demo.world",
]
_hook = install_import_hook(_CHECKED, "beartype.beartype")

from phreg.storage import Folder  # noqa: E402
from tests.report.browser import Browser, find_browser  # noqa: E402

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """As a Ray worker of one CPU has. Two wait for each other by spinning: on a busy machine of two cores
    the tests of models and method took 225 CPU seconds with two, and 51 with one."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """Parity vectors and photos of the workplace; not shipped with the project."""
    folder = Path(os.environ.get("PHREG_SHARED", SHARED))
    if not (folder / "parity").is_dir():
        pytest.skip("no ../shared folder here (set PHREG_SHARED to its place): parity and photo tests skip")
    return folder


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """URL of a moto server on loopback, with throw-away credentials in the environment."""
    from moto.s3.responses import S3Response
    from moto.server import ThreadedMotoServer

    one_at_a_time, put_object = threading.Lock(), S3Response.put_object

    def put(request: S3Response) -> Any:
        """S3 creates exclusively; moto looks first and puts then, and two at once may pass its look."""
        with one_at_a_time:
            return put_object(request)

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    patch = pytest.MonkeyPatch()
    patch.setattr(S3Response, "put_object", put)
    patch.setenv("AWS_ENDPOINT_URL", url)
    patch.setenv("AWS_ACCESS_KEY_ID", "test")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "canary-secret")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    yield url
    patch.undo()
    server.stop()


@pytest.fixture
def s3_folder(s3_server: str) -> Folder:
    """A folder in a fresh bucket."""
    import s3fs

    bucket = f"phreg-{uuid.uuid4().hex[:12]}"
    s3fs.S3FileSystem().mkdir(bucket)
    return Folder(f"s3://{bucket}/work")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find_browser()
    if program is None:
        pytest.skip("no Chromium here (set CHROMIUM, or apt-get install chromium): pages are not looked at")
    started = Browser(program, tmp_path_factory.mktemp("profile"))
    yield started
    started.close()
