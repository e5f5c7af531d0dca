"""How objects of S3 are transferred: reads that end early go on, and only uploads go in parallel."""

import threading
import time
from pathlib import Path

import fsspec.config
import pytest

from phreg.config.run import load_config
from phreg.data import count_samples
from phreg.storage import Folder, open_url
from tests.faults.s3_faults import cut
from tests.faults.s3_proxy import WAIT, S3Proxy
from tests.helpers import jpeg_bytes, make_image, write_tar
from tests.small_run import write_config


def test_an_opened_object_outlives_reads_that_end_early(
    proxied_folder: Folder, s3_proxy: S3Proxy, tmp_path: Path
) -> None:
    """Counting samples, and reading a config, are each cut twice."""
    tar = write_tar(tmp_path / "a-0.tar", [(f"k{i}.jpg", jpeg_bytes(make_image(i))) for i in range(3)])
    proxied_folder.write("a-0.tar", tar.read_bytes())
    proxied_folder.write("run.yaml", write_config(tmp_path).read_bytes())
    faults = [s3_proxy.fault(cut(), "GET", name, 2) for name in ("/a-0[.]tar", "/run[.]yaml")]
    assert count_samples(proxied_folder.url_of("a-0.tar")) == 3
    assert load_config(proxied_folder.url_of("run.yaml")).name
    assert [fault.hits for fault in faults] == [2, 2]


def test_a_read_that_ends_early_between_others_changes_nothing(
    proxied_folder: Folder, s3_proxy: S3Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(fsspec.config.conf, "s3", {"default_block_size": 1 << 20})
    data = bytes(range(256)) * 20_000
    proxied_folder.write("a", data)
    fault = s3_proxy.fault(cut(), "GET", "/a$", 3, skip=1)
    with open_url(proxied_folder.url_of("a")) as file:
        assert b"".join(iter(lambda: file.read(300_000), b"")) == data
        file.seek(-5, 2)
        assert file.read() == data[-5:]
    assert fault.hits == 3


def test_parts_are_sent_in_parallel_and_read_by_one_request(
    proxied_folder: Folder, s3_proxy: S3Proxy
) -> None:
    data = bytes(100 * 2**20 + 1)
    hold = s3_proxy.hold("PUT", "partNumber=1&")
    writer = threading.Thread(target=proxied_folder.write, args=("big", data))
    writer.start()
    hold.wait()
    deadline = time.monotonic() + WAIT
    while not s3_proxy.count("PUT", "partNumber=2&") and time.monotonic() < deadline:
        time.sleep(0.05)
    second = s3_proxy.count("PUT", "partNumber=2&")
    hold.release()
    writer.join()
    assert second == 1
    assert proxied_folder.read("big") == data
    assert s3_proxy.count("GET", "/big") == 1
