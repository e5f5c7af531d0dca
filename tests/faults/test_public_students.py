"""Students in folders that are no registry's, or only half visible; and registered ones with a bad record."""

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from phreg.errors import AccessDeniedError, RegistryError, StorageError
from phreg.models import add_registers, hub_files, load_backbone, load_student
from phreg.registry import Registry
from phreg.storage import Folder
from tests.faults.flips import flipped
from tests.faults.s3_faults import answer
from tests.faults.s3_proxy import S3Proxy
from tests.helpers import tiny_dinov2
from tests.registry.examples import register


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    torch.manual_seed(0)
    return hub_files(add_registers(load_backbone(tiny_dinov2(), image_size=32), 2))


@pytest.fixture
def folder(files: dict[str, bytes], tmp_path: Path) -> Folder:
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    return Folder(str(tmp_path))


class Answers(http.server.SimpleHTTPRequestHandler):
    """Files; and for what is not there what `missing` says: a status, or a page with 200."""

    missing = 404

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        if self.missing != 200:
            return super().send_error(self.missing)
        page = b"<!doctype html><title>Our models</title>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)
        return None

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(folder: Folder, request: pytest.FixtureRequest) -> Iterator[str]:
    handler = type("Missing", (Answers,), {"missing": request.param})
    bound = functools.partial(handler, directory=str(folder.local_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), bound) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


@pytest.mark.parametrize("server", [404, 403, 200], indirect=True)
def test_from_a_web_server_whatever_it_says_of_what_is_not_there(server: str) -> None:
    load_student(server)


@pytest.mark.parametrize("server", [500], indirect=True)
def test_a_server_that_fails_is_no_sign_that_nothing_is_registered(server: str) -> None:
    with pytest.raises(StorageError):
        load_student(server)


@pytest.mark.parametrize("code", ["AccessDenied", "InvalidAccessKeyId"])
def test_from_a_bucket_that_may_be_read_and_not_listed(
    files: dict[str, bytes], proxied_folder: Folder, s3_proxy: S3Proxy, code: str
) -> None:
    for name, data in files.items():
        proxied_folder.write(name, data)
    s3_proxy.fault(answer(403, code), "GET", r"entry[.]json", times=5)
    if code == "AccessDenied":
        load_student(proxied_folder.url)
    else:
        with pytest.raises(StorageError) as caught:
            load_student(proxied_folder.url)
        assert not isinstance(caught.value, AccessDeniedError)


@pytest.mark.parametrize(
    "other",
    [b'{"title": "our best"}', b'{"model": "a", "files": ["x"]}', b"[1]", b"", b"<html>", b"[" * 99999],
)
def test_an_entry_that_is_none_of_ours(folder: Folder, other: bytes) -> None:
    folder.write("entry.json", other)
    load_student(folder.url)


def test_every_bit_of_a_record_counts(files: dict[str, bytes], tmp_path: Path) -> None:
    entry = register(Registry(Folder(str(tmp_path / "registry"))), files=files)
    load_student(entry.url)
    record = entry.folder.read("entry.json")
    for bit in range(0, 8 * len(record), 97):
        entry.folder.write("entry.json", flipped(record, bit))
        with pytest.raises(RegistryError, match=r"entry[.]json is not what was registered"):
            load_student(entry.url)
    better = json.loads(record) | {"metrics": {"outlier_rate": 0.0}}
    entry.folder.write("entry.json", json.dumps(better).encode())
    with pytest.raises(RegistryError, match=r"entry[.]json is not what was registered"):
        load_student(entry.url)
