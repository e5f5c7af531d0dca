"""Names that images have in object stores and on disks: each is packed, or listed as left out."""

import json
import os
from pathlib import Path

import botocore.session
import pytest

from phreg.cli.main import main
from phreg.data import pack_images, read_shard
from phreg.data.pack import sample_key
from phreg.errors import ConfigError
from phreg.storage import Folder
from tests.helpers import jpeg_bytes, make_image

PACKED = [
    "a//b.jpg", "c\x1b[31m.jpg", "d" * 900 + ".jpg", "e .jpg", "é.jpg", "f?.jpg", "g*.jpg", "h[1].jpg",
    "i%20j.jpg", "k..jpg", "l\u202e.jpg", "m#n.jpg", "o\\p.jpg", "q\r.jpg", "s.tar.jpg",
]  # fmt: skip
LEFT_OUT = ["/t.jpg", "//u.jpg", "a/./v.jpg", "a/../w.jpg", "./x.jpg", "../y.jpg", "z.jpg/"]
NO_IMAGES = ["folder/", "slashes//", ".hidden.jpg", "a/.hidden/b.jpg", "", "jpg"]


def test_keys_of_an_object_store(s3_server: str, s3_folder: Folder, tmp_path: Path) -> None:
    """Put as other tools put them: s3fs itself would not."""
    client = botocore.session.get_session().create_client("s3", endpoint_url=s3_server)
    bucket = s3_folder.url.split("/")[2]
    for key in [*PACKED, *LEFT_OUT]:
        client.put_object(Bucket=bucket, Key=f"work/{key}", Body=jpeg_bytes(make_image(len(key), 20, 16)))
    for key in NO_IMAGES:
        client.put_object(Bucket=bucket, Key=f"work/{key}", Body=b"")
    report = pack_images(s3_folder.url, tmp_path / "out")
    assert report.samples == len(PACKED)
    assert {sample.key for sample in read_shard(report.shards[0]).samples} == set(map(sample_key, PACKED))
    assert {path for path, _ in report.quarantined} == set(LEFT_OUT)
    assert {reason.partition(":")[0] for _, reason in report.quarantined} == {"its key is no path"}
    again = pack_images(s3_folder.url, tmp_path / "out")
    assert (again.written, again.reused, len(again.quarantined)) == (0, 1, len(LEFT_OUT))


def test_sample_keys_never_meet() -> None:
    """Names that differ in what a key cannot hold, in their case, or in their ends alone."""
    names = [
        "a/b.jpg",
        "a_b.jpg",
        "a\\b.jpg",
        "a//b.jpg",
        "A/b.jpg",
        "a/b.png",
        "a/b.JPG",
        "x" * 99 + "a/b.jpg",
    ]
    keys = list(map(sample_key, names))
    assert len({key.lower() for key in keys}) == len(names)
    assert all(len(key) <= 100 and key.isascii() for key in keys)


def test_names_of_a_disk_are_printed_safely(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = os.fsencode(tmp_path / "in")
    os.mkdir(folder)
    for name in (b"a.jpg", b"caf\xe9.jpg", b"new\nline.jpg", b"clear\x1b[2J.jpg"):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(jpeg_bytes(make_image(0)) if name != b"clear\x1b[2J.jpg" else b"no image")
    assert main(["pack", str(tmp_path / "in"), str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert r"  caf\udce9.jpg: its name is not UTF-8" in printed
    assert r"  clear\x1b[2J.jpg: " in printed
    listed = [json.loads(line) for line in (tmp_path / "out" / "quarantine.jsonl").read_text().splitlines()]
    assert {item["source"] for item in listed} == {r"caf\udce9.jpg", "clear\x1b[2J.jpg"}


@pytest.mark.parametrize("place", ["{0}", "{0}/b.tar"])
def test_a_folder_of_shards_is_told_to_need_no_packing(tmp_path: Path, place: str) -> None:
    (tmp_path / "a.tar").write_bytes(b"")
    (tmp_path / "b.tar").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"`images: .*/[*b][.]tar` into a run's config"):
        pack_images(place.format(tmp_path), tmp_path / "out")


def test_a_folder_of_other_files_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "photos.zip").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"1 other files, such as photos[.]zip"):
        pack_images(tmp_path, tmp_path / "out")
