import json
import os
import random
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from webdataset.tariterators import base_plus_ext

from phreg.data import Shard, count_samples, expand_urls, pack_images, read_shard
from phreg.data.pack import _partition, sample_key
from phreg.errors import ConfigError
from phreg.storage import Folder
from tests.helpers import jpeg_bytes, make_image


def add(source: Path, *names: str) -> None:
    for name in names:
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = {".png": "PNG", ".webp": "WEBP"}.get(path.suffix.lower(), "JPEG")
        make_image(random.Random(name).randrange(10**6), 20, 16).save(path, format=kind)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Ten images in shards of 4: 4 + 4 + 2."""
    add(
        tmp_path / "in",
        *(f"img_{i}.jpg" for i in range(5)),
        "a/b.c.jpg",
        "a/b_c.jpg",
        "x.jpg",
        "x.PNG",
        "ü ñ.webp",
    )
    (tmp_path / "in" / "notes.txt").write_text("not an image")
    add(tmp_path / "in", ".thumbs/t.jpg", "._x.jpg")
    return tmp_path / "in"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "photos"


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def shards_of(folder: Path) -> list[Shard]:
    return [read_shard(url) for url in expand_urls([f"{folder}/*.tar"])]


def test_all_images_with_their_own_bytes(source: Path, out: Path) -> None:
    report = pack_images(source, out, samples_per_shard=4)
    shards = shards_of(out)
    assert [shard.name for shard in shards] == ["photos-000000", "photos-000001", "photos-000002"]
    assert [len(shard.samples) for shard in shards] == [4, 4, 2]
    assert [count_samples(url) for url in report.shards] == [4, 4, 2]
    packed = {sample.image for shard in shards for sample in shard.samples}
    assert packed == {
        path.read_bytes() for path in source.rglob("*") if "." not in path.name[:1] and _shown(path)
    }
    assert (report.written, report.reused, report.samples, report.quarantined) == (3, 0, 10, ())
    assert report.bytes == sum(path.stat().st_size for path in out.glob("*.tar"))


def _shown(path: Path) -> bool:
    return path.is_file() and path.suffix != ".txt" and path.parent.name != ".thumbs"


def test_the_source_path_is_kept_beside_the_image(source: Path, out: Path) -> None:
    import tarfile

    pack_images(source, out)
    with tarfile.open(out / "photos-000000.tar") as tar:
        origins = [json.load(tar.extractfile(name)) for name in tar.getnames() if name.endswith(".json")]
        assert {(member.mtime, member.uid, member.gid, member.uname, member.gname) for member in tar} == {
            (0, 0, 0, "", "")
        }
    assert {"a/b.c.jpg", "x.PNG", "ü ñ.webp"} < {origin["source"] for origin in origins}


def test_packing_is_the_same_wherever_it_is_done(source: Path, out: Path, tmp_path: Path) -> None:
    pack_images(source, out, samples_per_shard=4)
    copy = shutil.copytree(source, tmp_path / "elsewhere" / "in")
    pack_images(f"file://{copy}", tmp_path / "elsewhere" / "photos", samples_per_shard=4)
    assert content(tmp_path / "elsewhere" / "photos") == content(out)


def test_a_second_run_writes_nothing(source: Path, out: Path) -> None:
    pack_images(source, out, samples_per_shard=4)
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    calls: list[tuple[int, int]] = []
    report = pack_images(source, out, samples_per_shard=4, on_progress=lambda *call: calls.append(call))
    assert (report.written, report.reused, report.samples) == (0, 3, 10)
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    assert calls[-1] == (10, 10)


@pytest.mark.parametrize(
    "lost",
    [
        ["photos-000002.tar", "photos-000002.json"],
        ["photos-000002.json"],  # stopped between the tar and its record
        ["photos-000001.tar", "photos-000001.json", "photos-000002.tar", "photos-000002.json"],
        ["photos-000001.tar"],
        ["photos-000000.tar", "photos-000001.tar", "photos-000002.json"],
    ],
)
def test_an_interrupted_run_ends_as_if_it_were_not(source: Path, out: Path, lost: list[str]) -> None:
    (source / "broken.jpg").write_bytes(b"broken")
    pack_images(source, out, samples_per_shard=4)
    whole = content(out)
    for name in lost:
        (out / name).unlink()
    calls: list[tuple[int, int]] = []
    pack_images(source, out, samples_per_shard=4, on_progress=lambda *call: calls.append(call))
    assert content(out) == whole
    assert calls[-1] == (11, 11)


def test_a_run_stopped_at_any_image_can_go_on(source: Path, out: Path, tmp_path: Path) -> None:
    pack_images(source, tmp_path / "whole" / "photos", samples_per_shard=4)

    class StoppedError(Exception):
        pass

    for stop_at in (1, 4, 6, 8, 9):

        def stop(done: int, total: int, stop_at: int = stop_at) -> None:
            if done >= stop_at:
                raise StoppedError

        with pytest.raises(StoppedError):
            pack_images(source, out, samples_per_shard=4, on_progress=stop)
        for url in expand_urls([f"{out}/*.tar"]) if list(out.glob("*.tar")) else []:
            read_shard(url)  # what is there is whole
    pack_images(source, out, samples_per_shard=4)
    assert content(out) == content(tmp_path / "whole" / "photos")


def test_only_what_a_list_names_is_packed(source: Path, out: Path) -> None:
    """By paths in the folder or whole ones; a longer list later adds what it adds."""
    listed = source.parent / "list.txt"
    listed.write_text(f"x.jpg\r\n\n./a/b.c.jpg\n{source}/img_3.jpg\nx.jpg\n")
    done: list[tuple[int, int]] = []
    report = pack_images(source, out, on_progress=lambda *at: done.append(at), listed=str(listed))
    keys = {sample_key(path) for path in ("x.jpg", "a/b.c.jpg", "img_3.jpg")}
    assert {sample.key for sample in read_shard(report.shards[0]).samples} == keys
    assert done[-1] == (3, 3)
    listed.write_text("ü ñ.webp\nx.jpg\n")
    more = pack_images(source, out, listed=str(listed))
    assert (more.samples, len(more.shards), more.reused) == (4, 2, 1)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x.jpg\nno.jpg\nnotes.txt\n", "no such image: no.jpg, notes.txt"),
        ("\n", "no lines"),
        (None, "no such"),
    ],
)
def test_a_list_of_other_things_is_refused(source: Path, out: Path, text: str | None, found: str) -> None:
    listed = source.parent / "list.txt"
    if text is not None:
        listed.write_text(text)
    with pytest.raises(ConfigError, match=r"list\.txt") as caught:
        pack_images(source, out, listed=str(listed))
    assert found in str(caught.value)
    assert not out.exists()


def test_new_images_go_into_new_shards(source: Path, out: Path) -> None:
    pack_images(source, out, samples_per_shard=4)
    before = content(out)
    add(source, "a/a.jpg", "zz.jpg")
    report = pack_images(source, out, samples_per_shard=4)
    assert (report.written, report.reused, report.samples) == (1, 3, 12)
    assert content(out).items() >= before.items()
    assert len(read_shard(report.shards[-1]).samples) == 2


def test_unreadable_images_are_listed_never_fatal(source: Path, out: Path) -> None:
    bad = {
        "img_2b.jpg": b"<html>404</html>",
        "empty.png": b"",
        "cut.jpg": jpeg_bytes(make_image(0, 64, 64))[:400],
    }
    for name, data in bad.items():
        (source / name).write_bytes(data)
    (source / "gone.jpg").symlink_to(source / "nowhere.jpg")
    report = pack_images(source, out, samples_per_shard=4)
    assert {item.key for item in report.quarantined} == {*bad, "gone.jpg"}
    assert all(item.reason for item in report.quarantined)
    assert report.samples == 10
    lines = [json.loads(line) for line in (out / "quarantine.jsonl").read_text().splitlines()]
    assert [(line["source"], line["reason"]) for line in lines] == [
        tuple(item) for item in report.quarantined
    ]
    assert pack_images(source, out, samples_per_shard=4).quarantined == report.quarantined


def test_links_are_followed_and_never_for_ever(tmp_path: Path, out: Path) -> None:
    add(tmp_path / "far", "deep/a.jpg")
    source = tmp_path / "in"
    add(source, "b.jpg")
    (source / "folder").symlink_to(tmp_path / "far")
    (source / "file.jpg").symlink_to(tmp_path / "far" / "deep" / "a.jpg")
    (source / "folder" / "up").symlink_to(source)
    (source / "loop.jpg").symlink_to(source / "loop.jpg")
    os.mkfifo(source / "pipe.jpg")
    report = pack_images(source, out)
    assert report.samples == 3
    assert [item.key for item in report.quarantined] == ["loop.jpg"]


def test_an_image_that_goes_away_meanwhile_is_listed(source: Path, out: Path) -> None:
    last = source / "ü ñ.webp"
    report = pack_images(
        source, out, samples_per_shard=1, on_progress=lambda *_: last.unlink(missing_ok=True)
    )
    assert [(item.key, "gone" in item.reason) for item in report.quarantined] == [("ü ñ.webp", True)]
    assert report.samples == 9
    assert pack_images(source, out).quarantined == ()


def test_a_name_that_is_not_utf8_is_listed(source: Path, out: Path) -> None:
    shutil.copy(source / "x.jpg", os.fsencode(source) + b"/\xff.jpg")
    for _ in range(2):
        report = pack_images(source, out)
        assert [item.key for item in report.quarantined] == ["\\udcff.jpg"]
        assert report.samples == 10


def test_what_could_not_be_read_is_tried_again(source: Path, out: Path) -> None:
    (source / "late.jpg").symlink_to(source.parent / "late.jpg")
    assert [item.key for item in pack_images(source, out).quarantined] == ["late.jpg"]
    assert pack_images(source, out).written == 0
    (source.parent / "late.jpg").write_bytes(jpeg_bytes(make_image()))
    report = pack_images(source, out)
    assert (report.samples, report.quarantined) == (11, ())


def test_a_mended_image_is_packed_by_the_next_run(source: Path, out: Path) -> None:
    (source / "broken.jpg").write_bytes(b"broken")
    (source / "deleted.jpg").write_bytes(b"broken")
    assert len(pack_images(source, out).quarantined) == 2
    add(source, "broken.jpg")
    (source / "deleted.jpg").unlink()
    report = pack_images(source, out)
    assert (report.samples, report.written, report.quarantined) == (11, 1, ())
    assert (out / "quarantine.jsonl").read_bytes() == b""


def test_only_unreadable_images_make_no_shard(tmp_path: Path, out: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(b"a")
    for _ in range(2):
        report = pack_images(tmp_path / "in", out)
        assert (report.shards, report.samples, len(report.quarantined)) == ((), 0, 1)


def test_bytes_bound_a_shard(source: Path, out: Path) -> None:
    size = max(path.stat().st_size for path in source.rglob("*") if path.is_file())
    report = pack_images(source, out, max_bytes_per_shard=2 * size)
    assert len(report.shards) >= 5
    assert len(pack_images(source, out.parent / "single", max_bytes_per_shard=1).shards) == 10


@pytest.mark.parametrize("kind", ["absent", "empty", "other", "file"])
def test_a_source_without_images_is_refused(tmp_path: Path, out: Path, kind: str) -> None:
    place = tmp_path / "in"
    if kind in ("empty", "other"):
        place.mkdir()
    if kind == "other":
        (place / "a.txt").touch()
    if kind == "file":
        place = tmp_path / "a.jpg"
        place.write_bytes(jpeg_bytes(make_image()))
    with pytest.raises(ConfigError, match="No images to pack") as caught:
        pack_images(place, out)
    assert str(place) in str(caught.value)
    assert not out.exists()


@pytest.mark.parametrize(
    "case", ["foreign tar", "other name", "other images", "changed image", "gap", "bad record", "same place"]
)
def test_shards_of_another_set_are_never_touched(source: Path, out: Path, tmp_path: Path, case: str) -> None:
    pack_images(source, out, samples_per_shard=4)
    if case == "foreign tar":
        (out / "other-000000.tar").write_bytes(b"precious")
    elif case == "other name":
        (out / "photos-000007.tar").write_bytes(b"precious")
    elif case == "other images":
        shutil.rmtree(source)
        add(source, "other.jpg")
    elif case == "changed image":
        (source / "x.jpg").write_bytes(jpeg_bytes(make_image(7, 90, 90)))
    elif case == "gap":
        (out / "photos-000001.json").unlink()
    elif case == "bad record":
        (out / "photos-000001.json").write_bytes(b"{}")
    elif case == "same place":
        (out / "photos-000003.tar").write_bytes(b"precious")
        add(source, "new.jpg")
    before = content(out)
    with pytest.raises(ConfigError, match="new folder"):
        pack_images(source, out, samples_per_shard=4)
    assert content(out) == before


def test_pack_to_and_from_an_object_store(source: Path, out: Path, s3_folder: Folder) -> None:
    pack_images(source, out, samples_per_shard=4)
    for path in out.iterdir():
        assert path.suffix in (".tar", ".json")
    target = (s3_folder / "photos").url
    report = pack_images(source, target, samples_per_shard=4)
    assert report.written == 3
    assert pack_images(source, target, samples_per_shard=4).written == 0
    assert {item.path: Folder(target).read(item.path) for item in Folder(target).list()} == content(out)
    for path in source.rglob("*.jpg"):
        (s3_folder / "images").write(path.relative_to(source).as_posix(), path.read_bytes())
    report = pack_images((s3_folder / "images").url, (s3_folder / "again").url)
    assert (report.samples, report.shards) == (8, ((s3_folder / "again").url_of("again-000000.tar"),))


@pytest.mark.parametrize(
    "options", [{"samples_per_shard": 0}, {"max_bytes_per_shard": 0}, {"name": "a/b"}, {"name": ".."}]
)
def test_impossible_options(source: Path, out: Path, options: dict) -> None:
    with pytest.raises(ConfigError):
        pack_images(source, out, **options)


paths = st.text("ab._/-é \ud800", min_size=1, max_size=12).map(lambda stem: f"{stem}.jpg")


@given(paths)
def test_keys_pass_webdataset_unchanged(path: str) -> None:
    key = sample_key(path)
    assert base_plus_ext(f"{key}.jpg") == (key, "jpg")
    assert "/" not in key
    assert key.isascii()
    assert len(sample_key("folder/" * 50 + path)) < 100  # the room a plain tar header has


@given(st.sets(paths, max_size=20))
def test_keys_differ_when_paths_do(names: set[str]) -> None:
    assert len({sample_key(name) for name in names}) == len(names)


def test_keys_of_near_names() -> None:
    names = ["a/b.c.jpg", "a/b_c.jpg", "a_b_c.jpg", "a/b.c.png", "a/b.c.JPG"]
    assert len({sample_key(name) for name in names}) == len(names)


members = st.lists(st.integers(0, 100), max_size=30).map(
    lambda sizes: [(f"{i}", size) for i, size in enumerate(sizes)]
)


@given(members, st.integers(1, 6), st.integers(1, 200), st.data())
def test_partition_is_complete_bounded_and_continues(
    items: list[tuple[str, int]], most: int, most_bytes: int, data: st.DataObject
) -> None:
    runs = list(_partition(items, most, most_bytes))
    assert [item for run in runs for item in run] == items
    for run in runs:
        assert 1 <= len(run) <= most
        assert len(run) == 1 or sum(size for _, size in run) <= most_bytes
    done = data.draw(st.integers(0, len(runs)))
    left = [item for run in runs[done:] for item in run]
    assert list(_partition(left, most, most_bytes)) == runs[done:]
