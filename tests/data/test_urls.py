import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phreg.data import expand_images, expand_urls, shard_name
from phreg.errors import ConfigError
from phreg.storage import Folder


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_brace_ranges_keep_zeros_and_order() -> None:
    assert expand_urls(["s3://bucket/b-{000009..000011}.tar", "a-{1,0}.tar"]) == [
        "s3://bucket/b-000009.tar",
        "s3://bucket/b-000010.tar",
        "s3://bucket/b-000011.tar",
        "a-1.tar",
        "a-0.tar",
    ]


def test_plain_paths_pass_unchecked_and_duplicates_drop(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.tar")
    assert expand_urls([absent, "s3://nowhere/b.tar", absent, f"file://{absent}"]) == [
        absent,
        "s3://nowhere/b.tar",
    ]


def test_one_string_is_a_list_of_one() -> None:
    assert expand_urls("a.tar") == ["a.tar"]


def test_relative_and_absolute_spellings_are_one_shard(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert expand_urls(["./a.tar", os.path.join(tmp_path, "a.tar"), "a.tar"]) == ["./a.tar"]


def test_local_globs_are_sorted_and_leave_folders_out(tmp_path: Path) -> None:
    touch(tmp_path, "b/x-2.tar", "b/x-1.tar", "b/x-3.json", "b/x-9.tar/inner", "a/x-7.tar")
    names = [os.path.relpath(url, tmp_path) for url in expand_urls([f"{tmp_path}/b/x-?.tar"])]
    assert names == ["b/x-1.tar", "b/x-2.tar"]
    assert [shard_name(url) for url in expand_urls([f"{tmp_path}/*/x-[0-8].tar"])] == ["x-7", "x-1", "x-2"]
    assert [shard_name(url) for url in expand_urls([f"{tmp_path}/{{b,a}}/*.tar"])] == ["x-1", "x-2", "x-7"]


def test_globs_of_an_object_store(s3_folder: Folder) -> None:
    for name in ("x-1.tar", "x-0.tar", "notes.txt"):
        s3_folder.write(name, b"content")
    found = [s3_folder.url_of("x-0.tar"), s3_folder.url_of("x-1.tar")]
    assert expand_urls([s3_folder.url_of("*.tar")]) == found
    s3_folder.write("x-2.tar", b"content")  # listings are not remembered
    assert len(expand_urls([s3_folder.url_of("*.tar"), *found])) == 3


def test_globs_of_images(s3_folder: Folder, tmp_path: Path) -> None:
    """A file that is there is meant by its name, as a shell would leave it."""
    for name in ("x-1.jpg", "x-0.jpg", "deep/y.jpg", "notes.txt"):
        s3_folder.write(name, b"content")
    found = [s3_folder.url_of("x-0.jpg"), s3_folder.url_of("x-1.jpg")]
    assert expand_images([s3_folder.url_of("*.jpg")]) == found
    assert expand_images([found[1], s3_folder.url_of("x-{0..1}.jpg")]) == found[::-1]
    assert expand_images([s3_folder.url_of("**/*.jpg")]) == [s3_folder.url_of("deep/y.jpg"), *found]
    touch(tmp_path, "a[1].jpg", "a1.jpg", "b{0}.jpg")
    literal = [str(tmp_path / "a[1].jpg"), str(tmp_path / "b{0}.jpg"), "https://host/a?b=c"]
    assert expand_images(literal) == literal
    with pytest.raises(ConfigError, match="No image matches"):
        expand_images([s3_folder.url_of("*.png")])


def test_globs_in_memory() -> None:
    Folder("memory://urls").write("m-0.tar", b"content")
    (url,) = expand_urls(["memory://urls/m-*.tar"])
    assert Folder(url.rpartition("/")[0]).read("m-0.tar") == b"content"


def test_query_mark_is_no_glob_over_http_and_secrets_stay_out_of_urls() -> None:
    with pytest.raises(ConfigError, match="environment"):
        expand_urls(["https://host/a.tar?signature=secret"])


@pytest.mark.parametrize("pattern", ["{0}/none-*.tar", "{0}/absent/*.tar", "s3://no-such-bucket-phreg/*.tar"])
def test_a_glob_without_a_match_names_itself(s3_server: str, tmp_path: Path, pattern: str) -> None:
    pattern = pattern.format(tmp_path)
    with pytest.raises(ConfigError) as caught:
        expand_urls([pattern])
    assert pattern in str(caught.value)


def test_two_shards_of_one_name_are_both_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        expand_urls(["train/x-0.tar", "s3://bucket/val/x-{0..1}.tar"])
    assert "train/x-0.tar" in str(caught.value)
    assert "s3://bucket/val/x-0.tar" in str(caught.value)
    assert isinstance(pickle.loads(pickle.dumps(caught.value)), ConfigError)


@pytest.mark.parametrize(
    "pattern", ["a-{0..5.tar", "a}{.tar", "a-{0..99999999}.tar", "a-{0..9999}-{0..9999}.tar"]
)
def test_bad_braces(pattern: str) -> None:
    with pytest.raises(ConfigError, match="a"):
        expand_urls([pattern])


@pytest.mark.parametrize("braces", ["{0..x}", "{0..}", "{0-5}", "{a}", "{}"])
def test_braces_that_are_no_range_are_named(braces: str) -> None:
    with pytest.raises(ConfigError, match="two numbers") as caught:
        expand_urls([f"w/scenes-{{0..1}}-{braces}.tar"])
    assert repr(braces) in str(caught.value)
    assert "rename" not in str(caught.value)
    assert expand_urls(["w/{a}/scenes-{0..1}.tar"]) == ["w/{a}/scenes-0.tar", "w/{a}/scenes-1.tar"]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/",
        "s3://bucket/",
        "x/.tar",
        "x/..",
        "x/.hidden.tar",
        "x/a:b.tar",
        "x/" + "a" * 300 + ".tar",
        "a\n",
    ],
)
def test_unsafe_names(url: str) -> None:
    with pytest.raises(ConfigError, match="rename"):
        shard_name(url)


@given(st.text(max_size=30))
def test_a_shard_name_is_one_path_component_or_refused(text: str) -> None:
    try:
        name = shard_name(f"s3://bucket/folder/{text}.tar")
    except ConfigError:
        return
    assert name not in ("", ".", "..")
    assert not set(name) & set("/\\\0*?[]{}:#%\n")
