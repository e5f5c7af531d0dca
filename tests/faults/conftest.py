"""Fixtures: an S3 endpoint with faults, which this process and those it starts are led to; a whole run."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import s3fs

from phreg.storage import Folder
from tests.faults.runs import Outcome, run_undisturbed, tiny_run
from tests.faults.s3_proxy import S3Proxy
from tests.processes import starter


@pytest.fixture
def s3_proxy(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Proxy]:
    """AWS_ENDPOINT_URL is the proxy's while the test runs."""
    with S3Proxy(s3_server) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        s3fs.S3FileSystem.clear_instance_cache()  # instances know the endpoint they were made with
        yield proxy
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def proxied_folder(s3_proxy: S3Proxy) -> Folder:
    """A folder in a fresh bucket, behind the proxy."""
    bucket = f"phreg-{uuid.uuid4().hex[:12]}"
    s3fs.S3FileSystem().mkdir(bucket)
    return Folder(f"s3://{bucket}/work")


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a tiny run."""
    return tiny_run(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def undisturbed(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """What the run comes to."""
    with starter(tmp_path_factory.mktemp("undisturbed")) as start:
        return run_undisturbed(start, config)
