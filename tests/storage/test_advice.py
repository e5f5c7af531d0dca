"""What a user's own settings or disk get wrong is told with what to mend."""

import errno
from collections.abc import Iterator
from pathlib import Path

import fsspec.config
import pytest
import s3fs

from phreg.errors import PermanentStorageError, StorageError
from phreg.storage import Folder

BARE = "what to do: run the same command again"


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home for AWS's files, and nothing of it in the environment; nobody answers."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    s3fs.S3FileSystem.clear_instance_cache()
    yield tmp_path
    s3fs.S3FileSystem.clear_instance_cache()


KEYS = {"AWS_ACCESS_KEY_ID": "some-key-of-mine", "AWS_SECRET_ACCESS_KEY": "some-secret-of-mine"}
SSO = """[profile sso]
sso_start_url = https://127.0.0.1:1/start
sso_region = us-east-1
sso_account_id = 123456789012
sso_role_name = role
"""


@pytest.mark.parametrize(
    ("environment", "config", "words"),
    [
        ({"AWS_PROFILE": "nope"}, "", "AWS_PROFILE names a profile that is in neither"),
        ({"AWS_PROFILE": "sso"}, SSO, "sign in again"),
        (
            {"AWS_PROFILE": "half"},
            "[profile half]\naws_access_key_id = a\n",
            "only a part of the credentials",
        ),
        ({"AWS_PROFILE": "x"}, "[profile x]\ncredential_process = false\n", "gives none: mend it"),
        (KEYS, "no section\n", "mend that file"),
        (KEYS | {"AWS_RETRY_MODE": "sometimes"}, "", "mend the setting that this names"),
        (KEYS | {"AWS_REQUEST_CHECKSUM_CALCULATION": "never"}, "", "mend the setting that this names"),
        (KEYS | {"AWS_ENDPOINT_URL": "127.0.0.1:1"}, "", "as http://HOST:PORT"),
        ({}, "", "no credentials were found"),
    ],
)
def test_settings_of_aws(
    environment: dict[str, str], config: str, words: str, aws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (aws / "config").write_text(config)
    with pytest.raises(PermanentStorageError) as caught:
        Folder("s3://bucket/work").read("a")
    assert words in caught.value.remedy
    assert BARE not in str(caught.value)


def test_a_bucket_that_cannot_be(aws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(PermanentStorageError, match="check the bucket's name"):
        Folder("s3://Not A Bucket!/work").read("a")


def test_nobody_answers_may_pass(aws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(fsspec.config.conf, "s3", {"config_kwargs": {"connect_timeout": 1}})
    with pytest.raises(StorageError, match="check the network") as caught:
        Folder("s3://bucket/work").read("a")
    assert not isinstance(caught.value, PermanentStorageError)


@pytest.mark.parametrize(
    ("code", "words", "lasting"),
    [
        (errno.ENOSPC, "free disk space", False),
        (errno.EDQUOT, "quota", False),
        (errno.EMFILE, "ulimit -n", False),
        (errno.EROFS, "reading only", True),
        (errno.EFBIG, "smaller shards", True),
    ],
)
def test_disks(code: int, words: str, lasting: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(handle: int) -> None:
        raise OSError(code, "as programmed")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(StorageError, match=words) as caught:
        Folder(str(tmp_path)).write("a", b"")
    assert isinstance(caught.value, PermanentStorageError) == lasting


def test_a_name_too_long_for_the_disk(tmp_path: Path) -> None:
    with pytest.raises(PermanentStorageError, match="shorter path"):
        Folder(str(tmp_path)).read("a" * 300)
