"""S3 that fails: a generation ends by itself, or after the same command again, as if nothing had been."""

import functools
from collections.abc import Callable
from pathlib import Path

import fsspec.config
import pytest

from phreg.cache import collect_garbage
from phreg.errors import PhregError, StorageError
from phreg.storage import Folder
from tests.faults.caches import digests
from tests.faults.ledger import trial
from tests.faults.s3_faults import answer, cut, expired, lose_reply, reset, slow, stale, stall
from tests.faults.s3_proxy import LISTING, Fault, S3Proxy
from tests.faults.scene import SHARDS, Scene, attempts, make_scene

IMAGES, DATA, RECORDS = r"/images/", r"/data/.*", r"/shards/.*[.]json"

Program = Callable[[S3Proxy], Fault]
PASSING: dict[str, list[Program]] = {
    "500 on writing data": [lambda p: p.fault(answer(500, "InternalError"), "PUT", DATA, 4)],
    "503 SlowDown on everything": [lambda p: p.fault(answer(503, "SlowDown"), times=4, skip=5)],
    "502 on reading images": [lambda p: p.fault(answer(502, "BadGateway"), "GET", IMAGES, 3)],
    "500 on the commit": [lambda p: p.fault(answer(500, "InternalError"), "PUT", RECORDS, 3)],
    "connection reset on writing": [lambda p: p.fault(reset, "PUT", DATA, 4, skip=2)],
    "connection reset on reading": [lambda p: p.fault(reset, "GET", IMAGES, 3)],
    "a read that ends early: images": [lambda p: p.fault(cut(), "GET", IMAGES, 3)],
    "a read that ends at its first byte": [lambda p: p.fault(cut(0.0), "GET", IMAGES, 2)],
    "no answer in time": [lambda p: p.fault(stall, "GET|PUT", "images|shards/|data/", 2, skip=3)],
    "a PUT of data whose reply is lost": [lambda p: p.fault(lose_reply, "PUT", DATA, 4)],
    "a commit whose reply is lost": [lambda p: p.fault(lose_reply, "PUT", RECORDS, 2)],
    "the spec's reply is lost": [lambda p: p.fault(lose_reply, "PUT", "spec.json")],
    "slow answers": [lambda p: p.fault(slow(0.2), times=20)],
    "everything at once": [
        lambda p: p.fault(lose_reply, "PUT", RECORDS, 2),
        lambda p: p.fault(answer(503, "SlowDown"), "PUT", "", 3, skip=4),
        lambda p: p.fault(cut(), "GET", IMAGES, 2, skip=1),
        lambda p: p.fault(reset, "GET", "", 2, skip=6),
    ],
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return make_scene(tmp_path_factory.mktemp("scene"))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own time limit, as FSSPEC_S3 gives it."""
    monkeypatch.setitem(fsspec.config.conf, "s3", {"config_kwargs": {"read_timeout": 2}})


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", PASSING)
def test_a_passing_fault_is_outlived(
    scene: Scene, proxied_folder: Folder, s3_proxy: S3Proxy, fault: str
) -> None:
    cache, urls = proxied_folder / "cache", scene.upload(proxied_folder / "images")
    with trial("S3", fault) as this:
        hits = [program(s3_proxy) for program in PASSING[fault]]
        reports = scene.generate(cache, urls, threads=2)
        s3_proxy.heal()
        assert not any(report.reused for report in reports)
        this.repeated = attempts(cache) - SHARDS
        assert this.repeated == 0
        assert all(programmed.hits for programmed in hits)
        assert digests(cache) == scene.expected


def test_stale_listings(scene: Scene, proxied_folder: Folder, s3_proxy: S3Proxy) -> None:
    """Made, made again and cleaned while listings know nothing of what is new."""
    cache, urls = proxied_folder / "cache", scene.upload(proxied_folder / "images")
    with trial("S3", "stale listings") as this:
        s3_proxy.fault(stale(3600), "GET", LISTING, None)
        scene.generate(cache, urls, threads=2)
        assert scene.world.with_cache(cache).store.shards() == []
        assert all(report.reused for report in scene.generate(cache, urls))
        assert collect_garbage(cache).removed == ()
        s3_proxy.heal()
        this.repeated = attempts(cache) - SHARDS
        assert this.repeated == 0
        assert digests(cache) == scene.expected


@pytest.mark.parametrize("status", [400, 403])
def test_credentials_expire_and_are_renewed(
    scene: Scene, proxied_folder: Folder, s3_proxy: S3Proxy, status: int
) -> None:
    cache, urls = proxied_folder / "cache", scene.upload(proxied_folder / "images")
    with trial("S3", f"credentials expire mid-run ({status})") as this:
        this.rerun = True
        scene.generate(cache, urls[:1])
        s3_proxy.fault(expired(status), times=None, skip=12)
        asked = len(s3_proxy.requests)
        with pytest.raises(StorageError) as caught:
            scene.generate(cache, urls)
        _check_message(caught.value, "renew")
        assert len(s3_proxy.requests) <= asked + 12 + 20  # refused once each, not again and again
        s3_proxy.heal()
        done = set(scene.world.with_cache(cache).store.shards())
        reports = scene.generate(cache, urls)
        assert {report.shard for report in reports if report.reused} == done
        assert done
        this.repeated = max(0, attempts(cache) - SHARDS)
        assert this.repeated <= 1  # the one in flight
        assert digests(cache) == scene.expected


@pytest.mark.parametrize(("method", "where"), [("HEAD", RECORDS), ("PUT", DATA), ("GET", LISTING)])
def test_every_request_says_that_credentials_expired(
    proxied_folder: Folder, s3_proxy: S3Proxy, method: str, where: str
) -> None:
    """A HEAD's answer says no more than its status."""
    uses = {"HEAD": lambda: proxied_folder.exists("shards/a.json"), "GET": proxied_folder.list}
    use = uses.get(method, functools.partial(proxied_folder.write, "data/a", b"1"))
    for status in (400, 403):
        s3_proxy.fault(expired(status), method, where, times=None)
        with pytest.raises(StorageError, match="renew them in the environment"):
            use()
        s3_proxy.heal()


@pytest.mark.parametrize(
    ("fault", "act"),
    [
        ("500 for good", answer(500, "InternalError")),
        ("reset for good", reset),
        ("every read ends early", cut()),
        pytest.param("no answer, ever", stall, marks=pytest.mark.slow),
    ],
)
def test_a_fault_for_good_ends_with_an_error(
    scene: Scene, proxied_folder: Folder, s3_proxy: S3Proxy, fault: str, act: Callable
) -> None:
    """Measured: given up after 7 to 13 s; a server that never answers after 90 s (before: 25 times 15 s)."""
    cache, urls = proxied_folder / "cache", scene.upload(proxied_folder / "images")
    with trial("S3", fault) as this:
        this.rerun = True
        s3_proxy.fault(act, "GET", r"/images/s-1[.]tar", times=None)
        with pytest.raises(StorageError, match=r"images/s-1[.]tar") as caught:
            scene.generate(cache, urls)
        _check_message(caught.value, "run the same command again")
        s3_proxy.heal()
        reports = scene.generate(cache, urls)
        assert reports[0].reused
        assert digests(cache) == scene.expected


@pytest.mark.parametrize("where", [pytest.param(DATA, marks=pytest.mark.slow), RECORDS])
def test_a_commit_that_fails_for_good_leaves_nothing_visible(
    scene: Scene, proxied_folder: Folder, s3_proxy: S3Proxy, where: str
) -> None:
    cache = proxied_folder / "cache"
    with trial("S3", f"writing fails for good: {'data' if where == DATA else 'record'}") as this:
        this.rerun = True
        s3_proxy.fault(answer(500, "InternalError"), "PUT", where, times=None)
        with pytest.raises(StorageError, match=r"s-0"):
            scene.generate(cache, scene.urls)
        assert scene.world.with_cache(cache).store.shards() == []
        s3_proxy.heal()
        scene.generate(cache, scene.urls)
        this.repeated = attempts(cache) - SHARDS
        assert digests(cache) == scene.expected


def test_what_the_user_gives_wins(s3_proxy: S3Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts from a folder's options, or from AWS_MAX_ATTEMPTS."""
    s3_proxy.fault(answer(500, "InternalError"), times=None)
    given = {"config_kwargs": {"retries": {"mode": "standard", "total_max_attempts": 2}}}
    with pytest.raises(StorageError):
        Folder("s3://bucket/a", given).read("x")
    assert len(s3_proxy.requests) == 2
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")
    with pytest.raises(StorageError):
        Folder("s3://bucket/a").read("x")
    assert len(s3_proxy.requests) == 5


def test_who_created_learns_it_though_the_reply_is_lost(proxied_folder: Folder, s3_proxy: S3Proxy) -> None:
    """The repeated PUT is refused for one's own object; another's is still another's."""
    s3_proxy.fault(lose_reply, "PUT", "/mine")
    assert proxied_folder.create("mine", b"1")
    assert s3_proxy.count("PUT", "/mine") >= 2
    assert not proxied_folder.create("mine", b"2")
    assert proxied_folder.read("mine") == b"1"


def test_nobody_there(tmp_path: Path) -> None:
    folder = Folder(
        "s3://bucket/a", {"endpoint_url": "http://127.0.0.1:1", "key": "a" * 20, "secret": "b" * 20}
    )
    with trial("S3", "no server at the endpoint"), pytest.raises(StorageError, match="AWS_ENDPOINT_URL"):
        folder.write("x", b"")


def _check_message(error: PhregError, remedy: str) -> None:
    """It names the object, says what to do, and holds no credential."""
    assert "s3://" in str(error)
    assert remedy in error.remedy
    assert "canary-secret" not in str(error)
