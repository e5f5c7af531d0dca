"""Lists of shards as other tools write them are refused, and told what to write instead."""

import pickle
from pathlib import Path

import pytest

from phreg.config.run import parse_config
from phreg.data import expand_images, expand_urls, pack_images
from phreg.errors import ConfigError, PermanentStorageError
from phreg.models import load_backbone
from phreg.storage import Folder, open_url, read_url
from tests.small_run import make_config

WRONG = [
    ("A.tar::B.tar", '["A.tar", "B.tar"]'),
    ("s3://b/a-{0..1}.tar::s3://c/b.tar::s3://c/d.tar", '["s3://b/a-{0..1}.tar", "s3://c/b.tar", "s3://c/d.tar"]'),
    ("/data/a-{0,1}.tar::b.tar", '["/data/a-{0,1}.tar", "b.tar"]'),
    ("A.tar:/data/B.tar", '["A.tar", "/data/B.tar"]'),
    ("s3://b/a-{0..1}.tar:s3://b/b.tar", '["s3://b/a-{0..1}.tar", "s3://b/b.tar"]'),
    ("simplecache::s3://b/a.tar", "give the URL itself: s3://b/a.tar"),
    ("filecache::simplecache::s3://b/a.tar", "give the URL itself: s3://b/a.tar"),
    ("tar://inner.tar::s3://b/a.tar", "unpacked first"),
    ("a.tar,b.tar", '["a.tar", "b.tar"]'),
    ("a-{0,1}.tar, b.tar ; c.tar", '["a-{0,1}.tar", "b.tar", "c.tar"]'),
    ("a.tar b.tar\nc.tar\n", '["a.tar", "b.tar", "c.tar"]'),
    ("pipe:aws s3 cp s3://b/x-{000..127}.tar -", "give its URL itself: s3://b/x-{000..127}.tar"),
    ("pipe:cat a.tar", "give its URL itself, for instance s3://"),
    ("s3://b/x-{000-127}.tar", "did you mean {000..127}?"),
    ("s3://b/x-{000...127}.tar", "did you mean {000..127}?"),
    ("s3://b/x-{000:127}.tar", "did you mean {000..127}?"),
    ("s3://b/x-{000,...,127}.tar", "did you mean {000..127}?"),
    ("s3://b/{000...127}/x.tar", "did you mean {000..127}?"),
    ("s3://b/x-[000..127].tar", "did you mean {000..127}?"),
    ("s3://b/x-[000-127].tar", "did you mean {000..127}?"),
    ("s3://b/x-(000..127).tar", "did you mean {000..127}?"),
    ("x-%06d.tar", "for instance {000000..000127}"),
    ("s3://b/photos/", "s3://b/photos/*.tar"),
    (".", "./*.tar"),
]  # fmt: skip


@pytest.mark.parametrize("field", ["images", "validation"])
@pytest.mark.parametrize(("pattern", "words"), WRONG)
def test_a_config_is_refused(pattern: str, words: str, field: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(make_config(tmp_path) | {field: pattern})
    assert f"{field}: " in str(caught.value)
    assert words in str(caught.value)
    if "\n" not in pattern:
        with pytest.raises(ConfigError):
            parse_config(make_config(tmp_path) | {field: ["fine.tar", pattern]})


@pytest.mark.parametrize(("pattern", "words"), WRONG)
def test_so_is_a_list_given_in_python(pattern: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        expand_urls(["fine.tar", pattern])
    assert words in str(pickle.loads(pickle.dumps(caught.value)))


def test_credentials_are_not_repeated() -> None:
    for pattern in (
        "s3://me:canary@b/a.tar::s3://me:canary@b/c.tar",
        "https://h/a.tar?canary,https://h/b.tar",
    ):
        with pytest.raises(ConfigError) as caught:
            expand_urls([pattern])
        assert "canary" not in str(caught.value)


def test_names_that_only_look_so_are_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["my photos/shard 1.tar", "a,b.tar", "x y.tar", "s3://b/{1-2}/a.tar", "s3://b/run(1-2)/b.tar"]
    assert expand_urls(names) == names
    monkeypatch.chdir(tmp_path)
    for name in ("a.tar b.tar", "a::b.jpg"):
        Path(name).write_bytes(b"content")
        assert read_url(name) == b"content"
    assert expand_urls(["a.tar b.tar"]) == ["a.tar b.tar"]
    assert expand_images(["a::b.jpg"]) == ["a::b.jpg"]


@pytest.mark.parametrize("key", ["output", "cache", "registry"])
def test_no_folder_is_a_chain(key: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{key}: `::` chains file systems.* give the URL itself: s3://b/x"):
        parse_config(make_config(tmp_path) | {key: "simplecache::s3://b/x"})


def test_nor_is_a_checkpoint(tmp_path: Path) -> None:
    teacher = make_config(tmp_path)["teacher"] | {"checkpoint": "simplecache::s3://b/x.safetensors"}
    with pytest.raises(ConfigError, match=r"teacher.checkpoint: `::` chains"):
        parse_config(make_config(tmp_path) | {"teacher": teacher})
    with pytest.raises(PermanentStorageError, match="`::` chains"):
        load_backbone("timm/vit_tiny_patch16_224", checkpoint="simplecache::s3://b/x.safetensors")


def test_where_one_place_is_wanted_no_list_is_advised(tmp_path: Path) -> None:
    with pytest.raises(PermanentStorageError, match=r"give one at a time: a, b$"):
        pack_images("a::b", tmp_path)
    with pytest.raises(ConfigError, match=r"give one at a time: a\.jpg, b\.jpg$"):
        expand_images(["a.jpg::b.jpg"])


def test_the_door_to_storage_opens_none() -> None:
    for place in ("simplecache::s3://b/x", "zip://x::a.zip", "a::b", "pipe:cat x", "http://[::1]:80/x"):
        with pytest.raises(PermanentStorageError, match="Cannot open"):
            Folder(place).list()
        with pytest.raises(PermanentStorageError, match="Cannot open"):
            read_url(place)
        with pytest.raises(PermanentStorageError, match="Cannot open"), open_url(place):
            pass


def test_an_address_of_ray_may_have_colons(tmp_path: Path) -> None:
    assert parse_config(make_config(tmp_path) | {"ray_address": "[fd00::1]:6379"}).ray_address
