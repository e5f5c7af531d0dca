import functools
import http.server
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from webdataset.tariterators import base_plus_ext

from phreg.data import Shard, count_samples, read_shard
from phreg.data.shard import _KEY
from phreg.errors import ObjectNotFoundError, ShardError
from phreg.fingerprint import digest_bytes
from phreg.storage import Folder
from tests.data.test_tar import resealed
from tests.helpers import write_shard, write_tar


def reasons(shard: Shard) -> dict[str, str]:
    return {item.key: item.reason for item in shard.quarantined}


def test_samples_are_the_images_by_key(tmp_path: Path) -> None:
    members = [
        ("b.json", b"{}"),
        ("b.JPG", b"one"),
        ("c/a.png", b"two"),
        ("c/a.txt", b""),
        ("a.jpg", b"three"),
    ]
    path = write_tar(tmp_path / "x-0.tar", members)
    shard = read_shard(str(path))
    assert [(sample.key, sample.image) for sample in shard.samples] == [
        ("b", b"one"),
        ("c/a", b"two"),
        ("a", b"three"),
    ]
    assert (shard.name, shard.url, shard.quarantined) == ("x-0", str(path), ())
    assert shard.digest == digest_bytes(path.read_bytes())
    assert count_samples(str(path)) == 3


@given(st.text("ab._/-\n", max_size=12))
@example("a.b/c.jpg")
@example("./a.jpg")
def test_keys_split_as_webdataset_splits_them(name: str) -> None:
    match = _KEY.match(name)
    assert (match.groups() if match else (None, None)) == base_plus_ext(name)


def test_what_webdataset_leaves_alone_is_left_alone(tmp_path: Path) -> None:
    names = ["a.jpg", "README", ".DS_Store", "._a.jpg", "__meta__/b.jpg", "__x__"]
    shard = read_shard(str(write_tar(tmp_path / "x.tar", [(name, b"x") for name in names])))
    assert [sample.key for sample in shard.samples] == ["a"]
    assert shard.quarantined == ()


def test_odd_keys_are_quarantined_with_a_reason(tmp_path: Path) -> None:
    names = ["a.jpg", "two.jpg", "two.png", "none.json", "mask.seg.png", "b.seg.png", "b.jpg"]
    path = str(write_tar(tmp_path / "x.tar", [(name, b"x") for name in names]))
    shard = read_shard(path)
    assert [sample.key for sample in shard.samples] == ["a", "b"]
    assert set(reasons(shard)) == {"two", "none", "mask"}
    assert "2 images" in reasons(shard)["two"]
    assert "no image" in reasons(shard)["none"]
    assert "seg.png" in reasons(shard)["mask"]
    assert count_samples(path) == 2


def test_names_that_leave_the_shard_or_cannot_be_stored(tmp_path: Path) -> None:
    bad = [
        "../up.jpg",
        "/root.jpg",
        "a/../../b.jpg",
        "line\nbreak.jpg",
        "bytes\udcff.jpg",
        "l" * 2000 + ".jpg",
    ]
    shard = read_shard(
        str(write_tar(tmp_path / "x.tar", [(name, b"x") for name in ["fine é\u202f.jpg", *bad]]))
    )
    assert [sample.key for sample in shard.samples] == ["fine é\u202f"]
    assert len(shard.quarantined) == len(bad)
    json.dumps(shard.quarantined, ensure_ascii=False).encode()
    assert all("\n" not in item.key and len(item.key) < 300 for item in shard.quarantined)


def test_links_and_devices_are_quarantined(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        for name, kind in [
            ("a.jpg", tarfile.REGTYPE),
            ("s.jpg", tarfile.SYMTYPE),
            ("h.jpg", tarfile.LNKTYPE),
            ("f.jpg", tarfile.FIFOTYPE),
            ("c.jpg", tarfile.CHRTYPE),
            ("d.jpg", tarfile.DIRTYPE),
        ]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/hostname" if kind != tarfile.REGTYPE else ""
            tar.addfile(info, io.BytesIO())
    shard = read_shard(str(path))
    assert [sample.key for sample in shard.samples] == ["a"]
    assert set(reasons(shard)) == {"s", "h", "f", "c"}


def test_a_sparse_member_is_not_inflated(tmp_path: Path) -> None:
    """512 bytes that claim to be a terabyte."""
    whole = write_tar(tmp_path / "x.tar", [("sparse.jpg", b"x" * 512), ("a.jpg", b"x")])
    data = resealed(whole.read_bytes(), 0, 156, b"S")
    whole.write_bytes(resealed(data, 0, 483, b"17777777777\0"))
    shard = read_shard(str(whole))
    assert [sample.key for sample in shard.samples] == ["a"]
    assert "sparse" in reasons(shard)["sparse"]


@pytest.mark.parametrize(
    "names",
    [
        ["a.jpg", "a.jpg"],
        ["a.jpg", "b.jpg", "a.jpg"],
        ["a.jpg", "b.jpg", "a.json"],
        ["a.jpg", "a.JPG"],
        ["a.txt", "b.jpg", "a.txt"],
    ],
)
def test_a_duplicate_key_names_shard_and_key(tmp_path: Path, names: list[str]) -> None:
    path = str(write_tar(tmp_path / "x.tar", [(name, b"x") for name in names]))
    for read in (read_shard, count_samples):
        with pytest.raises(ShardError, match="the key 'a' twice") as caught:
            read(path)
        assert path in str(caught.value)


@pytest.mark.parametrize("names", [[], ["a.json"], ["../a.jpg"], ["README"]])
def test_a_shard_without_samples(tmp_path: Path, names: list[str]) -> None:
    path = str(write_tar(tmp_path / "x.tar", [(name, b"x") for name in names]))
    for read in (read_shard, count_samples):
        with pytest.raises(ShardError, match="holds no samples"):
            read(path)


def test_cut_short_both_readers_refuse(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "x.tar", n=3)
    path.write_bytes(path.read_bytes()[:1200])
    for read in (read_shard, count_samples):
        with pytest.raises(ShardError, match="cut short"):
            read(str(path))


def test_a_shard_that_is_not_there_is_named(tmp_path: Path, s3_folder: Folder) -> None:
    for url in (
        str(tmp_path / "absent.tar"),
        s3_folder.url_of("absent.tar"),
        "s3://no-such-bucket-phreg/a.tar",
    ):
        for read in (read_shard, count_samples):
            with pytest.raises(ObjectNotFoundError, match="a"):
                read(url)


@pytest.fixture
def http_server(tmp_path: Path) -> Iterator[str]:
    """A server of tmp_path that, as many do, cannot give a part of a file."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_same_shard_from_every_store(tmp_path: Path, s3_folder: Folder, http_server: str) -> None:
    path = write_shard(tmp_path / "x.tar", n=3)
    s3_folder.write("x.tar", path.read_bytes())
    Folder("memory://shards").write("x.tar", path.read_bytes())
    local = read_shard(str(path))
    for url in (f"file://{path}", s3_folder.url_of("x.tar"), "memory://shards/x.tar", f"{http_server}/x.tar"):
        shard = read_shard(url)
        assert (shard.digest, shard.samples) == (local.digest, local.samples)
        assert count_samples(url) == 3
