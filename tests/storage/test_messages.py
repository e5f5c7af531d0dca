"""What a store refuses is told in words that fit the store, and hold no credential."""

import pickle
import traceback
from pathlib import Path

import fsspec.config
import pytest

from phreg.errors import ObjectNotFoundError, StorageError
from phreg.storage import Folder, open_url, read_url
from phreg.storage.messages import redacted

CANARY = "CANARY0123456789SECRET"


def test_a_missing_bucket_is_named(s3_server: str) -> None:
    nowhere = Folder("s3://no-such-bucket-here/work")
    uses = [
        lambda: nowhere.read("a"),
        lambda: nowhere.write("a", b""),
        lambda: nowhere.create("a", b""),
        lambda: nowhere.exists("a"),
        nowhere.list,
        nowhere.children,
    ]
    for use in uses:
        with pytest.raises(ObjectNotFoundError, match=r"no-such-bucket-here(?s:.)*a bucket of that name"):
            use()


def _report(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(pickle.loads(pickle.dumps(error)))


@pytest.mark.parametrize(
    "options",
    [
        {"key": CANARY, "secret": CANARY, "endpoint_url": f"http://user:{CANARY}@127.0.0.1:1"},
        {"key": CANARY, "secret": CANARY, "client_kwargs": {"endpoint_url": f"http://{CANARY}.invalid:1"}},
        {"key": CANARY, "secret": CANARY, "client_kwargs": {CANARY: CANARY}},
        {"token": CANARY, "endpoint_url": f"not a url {CANARY}"},
    ],
)
def test_errors_hold_no_option(options: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    folder = Folder("s3://bucket/work", options | {"config_kwargs": {"connect_timeout": 1}})
    monkeypatch.setattr("s3fs.core.S3FileSystem.retries", 1)
    with pytest.raises(StorageError) as caught:
        folder.read("a")
    assert CANARY not in _report(caught.value)
    assert CANARY not in repr(folder)


@pytest.mark.parametrize(
    "message",
    [
        f"signing with {CANARY} failed",
        f"cannot reach https://me:other-{CANARY[::-1]}@proxy:3128/a",
        f"403 for http://host/a?x=1&X-Amz-Signature={CANARY[::-1]}",
    ],
)
def test_errors_hold_no_credential_of_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    """Those in the environment, and those in a URL that an error quotes."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)

    def leak(*_: object, **__: object) -> bytes:
        raise RuntimeError(message)

    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.cat_file", leak)
    with pytest.raises(StorageError) as caught:
        Folder(str(tmp_path)).read("a")
    assert CANARY not in _report(caught.value)
    assert CANARY[::-1] not in _report(caught.value)


@pytest.mark.parametrize(
    "url", [f"https://me:{CANARY}@127.0.0.1:1/a", f"http://127.0.0.1:1/a?X-Amz-Signature={CANARY}"]
)
def test_errors_hold_no_credential_of_the_url(url: str) -> None:
    with pytest.raises(StorageError) as caught:
        read_url(url)
    assert CANARY not in _report(caught.value)


def test_errors_hold_no_secret_of_fsspecs_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """FSSPEC_S3='{...}' is read when fsspec is imported."""
    given = {"key": "someone's name", "client_kwargs": {"aws_secret_access_key": CANARY, "region": "here"}}
    monkeypatch.setitem(fsspec.config.conf, "s3", given)
    said = redacted(f"{CANARY} of someone's name is refused here", {})
    assert said == "*** of *** is refused here"


def test_an_unknown_protocol_is_an_error() -> None:
    with pytest.raises(StorageError, match="nosuch://"):
        Folder("nosuch://x/y").read("a")


def test_a_store_whose_package_is_missing_names_it() -> None:
    with pytest.raises(StorageError, match="pip install gcsfs"):
        Folder("gs://bucket/work").read("a")


@pytest.mark.parametrize("url", ["s3://", "s3:///"])
def test_a_url_without_a_bucket_says_so(url: str) -> None:
    for use in (Folder(url).list, lambda: read_url(url)):
        with pytest.raises(StorageError, match="names no bucket"):
            use()


def test_advice_on_local_paths_speaks_of_no_bucket(tmp_path: Path) -> None:
    with pytest.raises(ObjectNotFoundError, match=r"what to do: check the path$") as caught:
        read_url(str(tmp_path / "none"))
    assert "bucket" not in str(caught.value)
    with pytest.raises(ObjectNotFoundError, match="found: a folder"), open_url(str(tmp_path)):
        pass


def test_no_credentials_are_told_from_old_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with pytest.raises(StorageError, match="no credentials were found: set AWS_ACCESS_KEY_ID"):
        Folder("s3://bucket/work", {"endpoint_url": "http://127.0.0.1:1", "skip_instance_cache": True}).read(
            "a"
        )


def test_an_endpoint_that_is_no_url_says_how_to_write_it() -> None:
    options = {"key": "some-key", "secret": "some-secret", "endpoint_url": "127.0.0.1:1"}
    with pytest.raises(StorageError, match="as http://HOST:PORT"):
        Folder("s3://bucket/work", options).read("a")
