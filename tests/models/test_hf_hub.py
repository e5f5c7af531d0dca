"""`hf-hub:` names, against a stand-in of a hub's HTTP interface on loopback."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from phreg.errors import CheckpointError, DownloadError, ModelError
from phreg.models import add_registers, hub_files, load_backbone
from tests.helpers import tiny_dinov2

SHA = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Files of one repository, `somebody/vit`, and the paths that were asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                hub.asked.append(path)
                name = path.removeprefix(f"/somebody/vit/resolve/{SHA}/")
                if path.startswith("/api/models/somebody/vit/tree/"):
                    files = [
                        {"type": "file", "path": f, "size": len(data), "oid": f"{len(data):040x}"}
                        for f, data in hub.files.items()
                    ]
                    self._answer(json.dumps(files).encode(), "application/json")
                elif path.startswith("/api/models/somebody/vit"):
                    siblings = [{"rfilename": f} for f in hub.files]
                    info = {"id": "somebody/vit", "sha": SHA, "siblings": siblings, "private": False}
                    self._answer(json.dumps(info).encode(), "application/json")
                elif name in hub.files:
                    self._answer(hub.files[name], "application/octet-stream")
                else:
                    self.send_response(404)
                    self.send_header("X-Error-Code", "RepoNotFound")
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            do_HEAD = do_GET

            def _answer(self, data: bytes, kind: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.send_header("ETag", f'"{len(data):040x}"')
                self.send_header("X-Repo-Commit", SHA)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """As `HF_ENDPOINT` and `HF_HOME` would say, which are read when the hub's client is imported."""
    hub = Hub()
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    thread = threading.Thread(target=hub.server.serve_forever, args=(0.05,))
    thread.start()
    yield hub
    hub.server.shutdown()
    thread.join()
    hub.server.server_close()


def test_a_model_of_a_hub(hub: Hub) -> None:
    model = add_registers(load_backbone(tiny_dinov2()), 2)
    hub.files = hub_files(model) | {"pytorch_model.bin": b"not to be read", "README.md": b"a card"}
    loaded = load_backbone("hf-hub:somebody/vit")
    images = torch.randn(1, 3, *model.image_size)
    torch.testing.assert_close(loaded(images), model(images))
    assert not any(path.endswith((".bin", ".md")) for path in hub.asked)


def test_from_the_hubs_cache_where_it_does_not_answer(hub: Hub) -> None:
    hub.files = hub_files(add_registers(load_backbone(tiny_dinov2()), 2))
    digest = load_backbone("hf-hub:somebody/vit").weights_digest()
    hub.server.shutdown()
    hub.server.server_close()
    assert load_backbone("hf-hub:somebody/vit").weights_digest() == digest


def test_pickled_weights_alone_are_refused(hub: Hub) -> None:
    hub.files = {"config.json": b"{}", "pytorch_model.bin": b"not to be read"}
    with pytest.raises(DownloadError, match=r"model\.safetensors"):
        load_backbone("hf-hub:somebody/vit")
    assert not any(path.endswith(".bin") for path in hub.asked)


def test_a_config_of_a_hub_is_checked(hub: Hub) -> None:
    config = {"architecture": "hf-hub:somebody/evil", "pretrained_cfg": {}}
    hub.files = {"config.json": json.dumps(config).encode(), "model.safetensors": b""}
    with pytest.raises(ModelError, match="no architecture of this name"):
        load_backbone("hf-hub:somebody/vit")


def test_weights_that_are_none(hub: Hub) -> None:
    hub.files = hub_files(add_registers(load_backbone(tiny_dinov2()), 2)) | {"model.safetensors": b"x" * 99}
    with pytest.raises(CheckpointError):
        load_backbone("hf-hub:somebody/vit")


@pytest.mark.parametrize("name", ["somebody/else", "no-owner/", "a b/c"])
def test_a_name_that_the_hub_does_not_have(hub: Hub, name: str) -> None:
    with pytest.raises(DownloadError, match=f"hf-hub:{name}"):
        load_backbone(f"hf-hub:{name}")
