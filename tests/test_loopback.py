"""Loopback among the exceptions from proxies, as clients read them."""

import json
import os
import subprocess
import sys
from urllib.request import proxy_bypass_environment

import httpx
import pytest

from phreg.loopback import HOSTS, is_loopback, keep_off_proxies

DEAD = "http://127.0.0.1:9"
PROXIES = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "grpc_proxy"]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Without proxies and exceptions; what is set in a test is gone after it."""
    for name in {*PROXIES, "no_proxy", "NO_PROXY", "no_grpc_proxy", *os.environ}:
        if name.lower().endswith("_proxy"):
            monkeypatch.setenv(name, "")  # so that whatever becomes of it is undone
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize("name", PROXIES)
def test_every_way_to_name_a_proxy_leaves_loopback_alone(name: str, environment: pytest.MonkeyPatch) -> None:
    environment.setenv(name, DEAD)
    keep_off_proxies()
    for host in ("127.0.0.1", "localhost"):
        assert proxy_bypass_environment(f"{host}:4200")
    with httpx.Client() as client:
        for url in ("http://127.0.0.1:1/api", "http://localhost:1", "http://[::1]:1"):
            assert client._transport_for_url(httpx.URL(url)) is client._transport
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == ",".join(HOSTS)


def test_exceptions_that_are_there_are_kept(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("https_proxy", DEAD)
    environment.setenv("NO_PROXY", "10.0.0.0/8, localhost,.corp")
    environment.setenv("no_grpc_proxy", "other")
    keep_off_proxies()
    once = dict(os.environ)
    assert once["no_proxy"] == once["NO_PROXY"] == "10.0.0.0/8,localhost,.corp,127.0.0.1,::1"
    assert once["no_grpc_proxy"] == "other,127.0.0.1,localhost,::1"
    keep_off_proxies()
    assert dict(os.environ) == once


def test_two_lists_that_differ_are_kept_apart(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("http_proxy", DEAD)
    environment.setenv("NO_PROXY", "upper")
    environment.setenv("no_proxy", "lower")
    keep_off_proxies()
    assert os.environ["no_proxy"].startswith("lower,127")
    assert os.environ["NO_PROXY"].startswith("upper,127")


def test_what_excepts_all_is_left_as_it_is(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("http_proxy", DEAD)
    environment.setenv("no_proxy", "*")
    keep_off_proxies()
    assert os.environ["no_proxy"] == "*"


def test_nothing_changes_where_there_is_no_proxy(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HTTP_PROXY", "")
    keep_off_proxies()
    assert {"no_proxy", "NO_PROXY"}.isdisjoint(os.environ)


def test_it_is_done_by_importing_phreg(environment: pytest.MonkeyPatch) -> None:
    code = "import json, os, phreg; print(json.dumps(dict(os.environ)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"http_proxy": DEAD}
    )
    assert json.loads(done.stdout)["NO_PROXY"] == ",".join(HOSTS)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:4200/api", True),
        ("http://127.8.0.1", True),
        ("https://localhost/api", True),
        ("http://LOCALHOST:9000", True),
        ("http://[::1]:9000", True),
        ("http://user:pass@localhost:1", True),
        ("http://localhost.example.com", False),
        ("http://example.com/localhost", False),
        ("http://10.0.0.1:4200", False),
        ("127.0.0.1:4200", False),
        ("http://[::1", False),
        ("", False),
    ],
)
def test_is_loopback(url: str, expected: bool) -> None:
    assert is_loopback(url) == expected
