"""Stores without conditional create: what must have one winner is refused there, what need not goes on."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import register_implementation
from fsspec.spec import AbstractFileSystem
from PIL import Image

from phreg.cache import TargetStore, collect_garbage
from phreg.config.run import parse_config
from phreg.data import pack_images
from phreg.errors import ConfigError, PermanentStorageError, StorageError
from phreg.pipeline.register import check_registry
from phreg.registry import Registry, check_store
from phreg.storage import Creation, Folder
from phreg.storage.creation import MARKER
from tests.cache.examples import assert_equal_rows, make_rows, make_spec
from tests.faults.s3_faults import answer, only_if, without
from tests.faults.s3_proxy import S3Proxy
from tests.registry.examples import register
from tests.small_run import make_config

CONDITION = "If-None-Match"
Program = Callable[[S3Proxy], object]
REFUSALS = [
    *[(501, "NotImplemented"), (501, "XNotImplemented"), (400, "InvalidArgument"), (400, "InvalidHeader")],
    *[
        (403, "AccessDenied"),
        (403, "SignatureDoesNotMatch"),
        (405, "MethodNotAllowed"),
        (422, "Unprocessable"),
    ],
    *[(409, "OperationAborted"), (412, "PreconditionFailed")],  # also to what is not there
]


def refusing(status: int, code: str) -> Program:
    return lambda proxy: proxy.fault(only_if(CONDITION, answer(status, code)), "PUT", "", None)


LACKING: dict[str, tuple[Program, Creation]] = {
    "ignored": (lambda proxy: proxy.fault(without(CONDITION), "PUT", "", None), Creation.REPLACED),
    **{f"{status} {code}": (refusing(status, code), Creation.UNKNOWN) for status, code in REFUSALS},
}


@pytest.fixture(params=["ignored", "501 NotImplemented"])
def lacking(request: pytest.FixtureRequest, proxied_folder: Folder, s3_proxy: S3Proxy) -> Folder:
    """A folder in a store that lacks conditional create."""
    LACKING[request.param][0](s3_proxy)
    return proxied_folder


# Asking


def test_a_store_that_keeps_what_is_there(proxied_folder: Folder, s3_proxy: S3Proxy) -> None:
    """Asked once a process, and nothing of it is listed."""
    for _ in range(3):
        assert proxied_folder.creation is Creation.EXCLUSIVE
    assert proxied_folder.create("a", b"1")
    assert not proxied_folder.create("a", b"2")
    assert s3_proxy.count("PUT", MARKER) == 2  # created, and refused
    assert [item.path for item in proxied_folder.list()] == ["a"]
    assert proxied_folder.children() == ["a"]
    check_store(proxied_folder)


@pytest.mark.parametrize(
    ("status", "code"), [(409, "ConditionalRequestConflict"), (412, "PreconditionFailed")]
)
def test_a_store_that_is_busy_is_asked_again(
    proxied_folder: Folder, s3_proxy: S3Proxy, status: int, code: str
) -> None:
    s3_proxy.fault(answer(status, code), "PUT", MARKER, times=2)
    assert proxied_folder.creation is Creation.EXCLUSIVE


def test_a_marker_that_was_copied_with_its_folder_proves_nothing(
    proxied_folder: Folder, s3_proxy: S3Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """The marker of another store is there: it is this store that answers."""
    proxied_folder.write(MARKER, b"of a store that has it")
    s3_proxy.fault(without(CONDITION), "PUT", "", None)
    with caplog.at_level(logging.WARNING):
        assert proxied_folder.creation is Creation.REPLACED
        assert proxied_folder.creation is Creation.REPLACED
    assert sum(record.name == "phreg.storage.creation" for record in caplog.records) == 1
    assert "ignores `If-None-Match: *`" in caplog.text


def test_a_store_that_refuses_all_writes_is_no_store_without_conditions(
    proxied_folder: Folder, s3_proxy: S3Proxy
) -> None:
    s3_proxy.fault(answer(400, "InvalidArgument"), "PUT", "", None)
    with pytest.raises(StorageError, match="InvalidArgument"):
        _ = proxied_folder.creation


@pytest.mark.parametrize("kind", LACKING)
def test_a_store_that_lacks_it(proxied_folder: Folder, s3_proxy: S3Proxy, kind: str) -> None:
    program, answered = LACKING[kind]
    program(s3_proxy)
    assert proxied_folder.creation is answered


class LooksFirst(MemoryFileSystem):
    """As SFTP and HDFS are: without a create of their own."""

    protocol = "looksfirst"
    pipe_file = AbstractFileSystem.pipe_file


def test_a_client_that_looks_first_is_not_believed() -> None:
    register_implementation("looksfirst", LooksFirst, clobber=True)
    folder = Folder("looksfirst://somewhere/work")
    assert folder.creation is Creation.LOOKED
    assert folder.create("a", b"1")
    assert not folder.create("a", b"2")
    with pytest.raises(PermanentStorageError, match="looks for it first"):
        check_store(folder)


# What then comes of each use


def test_a_create_looks_before_it_writes(lacking: Folder) -> None:
    assert lacking.create("a", b"1")
    assert not lacking.create("a", b"2")
    assert lacking.create("a", b"1")
    assert lacking.read("a") == b"1"


def test_a_registry_is_refused(lacking: Folder) -> None:
    """Two students could take one version."""
    registry = Registry(lacking / "registry")
    with pytest.raises(PermanentStorageError, match=r"two students could(?s:.)*registry: URL"):
        register(registry)
    assert registry.models() == []
    assert lacking.list() == []


def test_a_run_finds_out_before_it_starts(lacking: Folder, tmp_path: Path) -> None:
    config = make_config(tmp_path, registry=lacking.url_of("registry"))
    with pytest.raises(PermanentStorageError, match="two students could"):
        check_registry(parse_config(config))
    check_registry(parse_config(config | {"registry": str(tmp_path / "registry")}))


def test_commits_are_harmless(lacking: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two writers of one shard, neither of which sees the other's record: the later one's stays, it is whole,
    and `gc` removes the other's attempt."""
    store = TargetStore.create(lacking / "cache", make_spec())
    first = store.commit("s", "d", make_rows(3))
    with monkeypatch.context() as blind:
        blind.setattr("phreg.storage.creation._is_there", lambda fs, path: False)
        blind.setattr(TargetStore, "check_content", lambda *_: None)
        second = store.commit("s", "d", make_rows(3))
    assert store.record("s") == second
    assert_equal_rows(store.read("s", "d"), make_rows(3))
    report = collect_garbage(lacking / "cache", grace_seconds=-60)
    assert report.removed == (f"{store.digest}/{first.folder}",)
    assert_equal_rows(store.read("s", "d"), make_rows(3))


def test_pack_overwrites_no_shard_of_others(lacking: Folder, tmp_path: Path) -> None:
    image = tmp_path / "images" / "a.png"
    image.parent.mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(image)
    report = pack_images(image.parent, lacking.url_of("photos"))
    assert pack_images(image.parent, lacking.url_of("photos")).reused == 1
    assert [url.rpartition("/")[2] for url in report.shards] == ["photos-000000.tar"]

    out = lacking / "other"
    out.write("other-000000.tar", b"somebody's shard")
    with pytest.raises(ConfigError, match=r"other-000000[.]tar with other content"):
        pack_images(image.parent, out.url)
    assert out.read("other-000000.tar") == b"somebody's shard"
