"""One suite for every backend: what phreg relies on holds on a local disk, in memory and on S3."""

import io
import os
import pickle
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from phreg.errors import ObjectNotFoundError, PermanentStorageError, StorageError
from phreg.storage import Folder, glob_url, open_url, read_url, version_of


@pytest.fixture(params=["file", "path", "memory", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    if request.param == "s3":
        yield request.getfixturevalue("s3_folder")
    elif request.param == "memory":
        memory = Folder(f"memory://{uuid.uuid4().hex}/work")
        yield memory
        for item in memory.list():
            memory.remove(item.path)
    else:
        yield Folder(f"file://{tmp_path}/work" if request.param == "file" else str(tmp_path / "work"))


# Reading and writing


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 1000])
def test_reads_what_was_written(folder: Folder, data: bytes) -> None:
    folder.write("a/b c/d=1.bin", data)
    assert folder.read("a/b c/d=1.bin") == data
    assert (folder / "a" / "b c").read("d=1.bin") == data
    assert read_url(folder.url_of("a/b c/d=1.bin")) == data


def test_a_write_replaces(folder: Folder) -> None:
    folder.write("a", b"a longer first version")
    folder.write("a", b"second")
    assert folder.read("a") == b"second"


def test_what_is_missing_is_named(folder: Folder) -> None:
    folder.write("there/x", b"")
    for missing in ("none", "there/none", "none/at/all", "there", "there/x/below"):
        with pytest.raises(ObjectNotFoundError, match=f"{missing}\n"):
            folder.read(missing)
    with pytest.raises(ObjectNotFoundError):
        read_url(folder.url_of("none"))


def test_exists_is_about_objects(folder: Folder) -> None:
    folder.write("a/b", b"")
    assert folder.exists("a/b")
    assert not folder.exists("a")
    assert not folder.exists("c")
    assert not folder.exists("a/b/c")


def test_remove(folder: Folder) -> None:
    folder.write("a/b", b"1")
    folder.remove("a/b")
    folder.remove("a/b")
    folder.remove("never/was")
    assert not folder.exists("a/b")
    assert folder.list() == []


def test_remove_all_stays_in_its_folder(folder: Folder) -> None:
    for path in ("a/1", "a/deep/er/2", "ab/3", "4"):
        folder.write(path, b"")
    folder.remove_all("a")
    folder.remove_all("a")
    assert [item.path for item in folder.list()] == ["4", "ab/3"]
    with pytest.raises(StorageError):
        folder.remove_all("")


def test_a_removed_object_can_be_created_again(folder: Folder) -> None:
    assert folder.create("a", b"1")
    folder.remove("a")
    assert folder.create("a", b"2")
    assert folder.read("a") == b"2"


# Listing


def test_list_gives_paths_sizes_and_times(folder: Folder) -> None:
    begin = time.time()
    for path, data in {"b": b"12", "a/x": b"", "a/y/z": b"123", "ab/x": b"1"}.items():
        folder.write(path, data)
    assert [(item.path, item.size) for item in folder.list()] == [
        ("a/x", 0),
        ("a/y/z", 3),
        ("ab/x", 1),
        ("b", 2),
    ]
    assert [item.path for item in folder.list("a")] == ["a/x", "a/y/z"]
    assert all(begin - 5 <= item.modified <= time.time() + 5 for item in folder.list())


def test_children_are_one_level(folder: Folder) -> None:
    for path in ("a/x", "a/a/z", "b", "ab/1/2"):
        folder.write(path, b"")
    assert folder.children() == ["a", "ab", "b"]
    assert folder.children("a") == ["a", "x"]
    assert folder.children("none") == []


def test_nothing_to_list(folder: Folder) -> None:
    assert folder.list() == []
    assert folder.list("none") == []
    assert folder.children() == []


def test_lookups_see_what_others_do(folder: Folder) -> None:
    """No cached listings: another process (here, a fresh file system) writes and removes."""
    other = Folder(folder.url, {"skip_instance_cache": True})
    assert not folder.exists("a/1")
    assert folder.list("a") == []
    other.write("a/1", b"")
    assert folder.exists("a/1")
    assert [item.path for item in folder.list("a")] == ["a/1"]
    assert folder.children() == ["a"]
    other.remove("a/1")
    assert not folder.exists("a/1")
    assert folder.list("a") == []


# Creating: the commit


def test_create_keeps_the_first(folder: Folder) -> None:
    assert folder.create("shards/a.json", b"first")
    assert not folder.create("shards/a.json", b"second")
    assert folder.create("shards/a.json", b"first")  # what is there is this
    assert folder.read("shards/a.json") == b"first"


def test_of_16_threads_one_creates(folder: Folder) -> None:
    for round_ in range(5):
        contents = [f"{i}".encode() * 1000 for i in range(16)]
        with ThreadPoolExecutor(16) as pool:
            won = list(pool.map(lambda data, path=f"race/{round_}": folder.create(path, data), contents))
        assert sum(won) == 1
        assert folder.read(f"race/{round_}") == contents[won.index(True)]


def test_of_16_threads_one_creates_in_memory_however_they_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    """fsspec looks whether an object is there, then writes it; here all threads meet in between."""
    exists = MemoryFileSystem.exists

    def slow(*args: object, **kwargs: object) -> bool:
        found = exists(*args, **kwargs)
        time.sleep(0.005)
        return bool(found)

    monkeypatch.setattr(MemoryFileSystem, "exists", slow)
    folder = Folder(f"memory://{uuid.uuid4().hex}")
    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(lambda i: folder.create("a", bytes([i])), range(16))) == 1


def test_threads_read_whole_objects(folder: Folder) -> None:
    folder.write("a", bytes(50_000))
    with ThreadPoolExecutor(8) as pool:
        sizes = set(pool.map(lambda _: len(folder.read("a")), range(80)))
    assert sizes == {50_000}


CREATE = """
import sys
from phreg.storage import Folder
folder = Folder(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(folder.create("race", sys.argv[2].encode()))
"""


def test_of_8_processes_one_creates_a_file(tmp_path: Path) -> None:
    """They wait for each other, so that they start at once."""
    writers = [_python(CREATE, str(tmp_path), f"writer {i}") for i in range(8)]
    assert [next(writer.stdout) for writer in writers] == ["ready\n"] * 8
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    won = [writer.communicate(timeout=60)[0] == "True\n" for writer in writers]
    assert sum(won) == 1
    assert Folder(str(tmp_path)).read("race") == f"writer {won.index(True)}".encode()


def _python(code: str, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_create_is_conditional_for_objects_sent_in_parts(s3_folder: Folder) -> None:
    """s3fs sends 100 MiB and more as a multipart upload."""
    data = bytes(100 * 2**20 + 1)
    assert s3_folder.create("big", b"first")
    assert not s3_folder.create("big", data)
    assert s3_folder.read("big") == b"first"
    s3_folder.remove("big")
    assert s3_folder.create("big", data)
    assert s3_folder.list()[0].size == len(data)


@pytest.mark.parametrize("code", ["ConditionalRequestConflict", "PreconditionFailed"])
def test_a_refused_create_is_tried_again_until_something_is_there(
    s3_folder: Folder, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """S3 answers 409 while another put is under way; some servers give 412 without saying which condition."""
    import s3fs
    from botocore.exceptions import ClientError

    real, refusals = s3fs.S3FileSystem._call_s3, [2]

    async def call(self: object, method: str, *args: object, **kwargs: object) -> object:
        if method == "put_object" and refusals[0]:
            refusals[0] -= 1
            raise s3fs.errors.translate_boto_error(ClientError({"Error": {"Code": code}}, method))
        return await real(self, method, *args, **kwargs)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", call)
    assert s3_folder.create("a", b"1")
    refusals[0] = 1
    assert not s3_folder.create("a", b"2")
    refusals[0] = 1000
    with pytest.raises(StorageError, match="refused"):
        s3_folder.create("b", b"1")


FORK = """
import os, sys
from phreg.storage import Folder
folder = Folder(sys.argv[1])
folder.write("a", b"1")
child = os.fork()
if not child:
    os._exit(folder.read("a") != b"1")
assert os.waitpid(child, 0)[1] == 0
print(folder.read("a"))
"""


def test_a_server_on_loopback_is_asked_through_no_proxy(
    s3_folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the environment has no exceptions, or such as clients read differently: `[::1]`."""
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "example.com")
    settings = {"config_kwargs": {"max_pool_connections": 9}}  # else fsspec gives a client that is there
    folder = Folder(s3_folder.url, settings)
    folder.write("a", b"x")
    assert folder.read("a") == b"x"


def test_a_forked_child_has_its_own_connections(s3_folder: Folder) -> None:
    """As torch's DataLoader forks. In a process with no thread but fsspec's, which is idle."""
    assert _python(FORK, s3_folder.url).communicate(timeout=60)[0] == "b'1'\n"


# Local disks


def test_a_local_reader_never_sees_part_of_an_object(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    folder.write("a", b"0" * 1_000_000)
    with ThreadPoolExecutor(2) as pool:
        writes = pool.submit(lambda: [folder.write("a", f"{i % 10}".encode() * 1_000_000) for i in range(20)])
        while not writes.done():
            data = folder.read("a")
            assert len(data) == 1_000_000
            assert len(set(data)) == 1


def test_an_interrupted_local_write_is_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(str(tmp_path))
    folder.write("a/b", b"old")
    (tmp_path / "a" / ".phreg-left-by-a-kill").write_bytes(b"half")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="free disk space"):
        folder.write("a/b", b"new")
    assert folder.read("a/b") == b"old"
    assert [item.path for item in folder.list()] == ["a/b"]
    assert folder.children("a") == ["b"]
    folder.remove_all("a")
    assert list(tmp_path.iterdir()) == []


def test_a_relative_folder_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Folder("runs/cache")
    folder.write("a", b"1")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert folder.read("a") == b"1"
    assert folder == Folder(str(tmp_path / "runs/cache"))
    assert folder.local_path == tmp_path / "runs/cache"


def test_a_file_in_the_way_is_an_error_and_no_lost_race(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    folder.write("a", b"")
    for put in (folder.write, folder.create):
        with pytest.raises(StorageError, match="in its way"):
            put("a/b", b"")


def test_a_file_system_without_links_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(StorageError, match="hard links"):
        Folder(str(tmp_path)).create("a", b"")


# Safety


@pytest.mark.parametrize("path", ["../a", "a/../../b", "/etc/passwd", "..", "", "/", ".", "a/./b", "a\0b"])
def test_paths_stay_in_the_folder(folder: Folder, path: str) -> None:
    for use in (folder.read, folder.exists, folder.remove, folder.remove_all, folder.__truediv__):
        with pytest.raises(StorageError):
            use(path)
    for put in (folder.write, folder.create):
        with pytest.raises(StorageError):
            put(path, b"")


def test_a_folder_pickles(folder: Folder) -> None:
    folder.write("a", b"1")
    copy = pickle.loads(pickle.dumps(folder))
    assert copy == folder
    assert copy.read("a") == b"1"


# Single objects


def test_open_url_seeks(folder: Folder) -> None:
    folder.write("a", bytes(range(100)))
    with open_url(folder.url_of("a")) as file:
        file.seek(-3, io.SEEK_END)
        assert file.read() == bytes([97, 98, 99])
    with pytest.raises(ObjectNotFoundError), open_url(folder.url_of("none")):
        pass


def test_glob_url(folder: Folder) -> None:
    for name in ("s-1.tar", "s-0.tar", "s-0.txt", "s-2.tar/inner"):
        folder.write(name, b"")
    found = glob_url(folder.url_of("s-*.tar"))
    assert [url.rpartition("/")[2] for url in found] == ["s-0.tar", "s-1.tar"]
    assert [read_url(url) for url in found] == [b"", b""]
    assert glob_url(folder.url_of("none-*")) == []
    with pytest.raises(PermanentStorageError, match=r"mend the pattern"):
        glob_url(folder.url_of("**.tar"))


def test_a_version_changes_with_the_object(folder: Folder) -> None:
    """Where the store tells one: memory does not."""
    url = folder.url_of("a")
    with pytest.raises(ObjectNotFoundError):
        version_of(url)
    folder.write("a", b"one")
    first = version_of(url)
    assert version_of(url) == first
    folder.write("a", b"two")
    second = version_of(url)
    assert (first, second) == (None, None) if url.startswith("memory:") else first != second


def test_a_folder_is_shown_without_credentials() -> None:
    folder = Folder("s3://me:secret@bucket/runs")
    assert (folder.shown(), folder.shown("a\tb.json")) == (
        "s3://***@bucket/runs",
        r"s3://***@bucket/runs/a\tb.json",
    )
    assert "secret" in folder.url_of("a")
