"""The proxy itself: without faults it changes nothing, and a held request waits."""

import threading

from phreg.storage import Folder
from tests.faults.s3_faults import stale
from tests.faults.s3_proxy import LISTING, S3Proxy


def test_passes_everything_on(proxied_folder: Folder, s3_proxy: S3Proxy) -> None:
    data = bytes(range(256)) * 3000
    proxied_folder.write("a/b c/d=1.bin", data)
    assert proxied_folder.read("a/b c/d=1.bin") == data
    assert proxied_folder.create("x", b"1")
    assert not proxied_folder.create("x", b"2")
    assert [item.path for item in proxied_folder.list()] == ["a/b c/d=1.bin", "x"]
    assert not proxied_folder.exists("y")
    proxied_folder.remove("x")
    assert proxied_folder.children() == ["a"]
    assert s3_proxy.count("PUT", "/x$") == 2


def test_a_held_request_waits(proxied_folder: Folder, s3_proxy: S3Proxy) -> None:
    hold = s3_proxy.hold("PUT", "/x$")
    writer = threading.Thread(target=proxied_folder.write, args=("x", b"1"))
    writer.start()
    hold.wait()
    assert not proxied_folder.exists("x")
    hold.release()
    writer.join()
    assert proxied_folder.read("x") == b"1"


def test_a_stale_listing_leaves_out_what_is_new(proxied_folder: Folder, s3_proxy: S3Proxy) -> None:
    proxied_folder.write("a/old", b"")
    s3_proxy.written.clear()
    proxied_folder.write("a/new one", b"")
    s3_proxy.fault(stale(1000), "GET", LISTING)
    assert proxied_folder.children("a") == ["old"]
    assert proxied_folder.children("a") == ["new one", "old"]
