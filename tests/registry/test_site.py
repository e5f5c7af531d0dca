"""The registry's site, asked over HTTP, and looked at in Chromium."""

import itertools
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from phreg.registry import Registry
from phreg.registry.site import site
from phreg.storage import Folder
from tests.processes import Started, Starter, starter
from tests.registry.examples import FILES, judged, register
from tests.report.browser import DESKTOP, PHONE, Browser

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    made = Registry(Folder(str(tmp_path_factory.mktemp("registry"))))
    first = register(made, metrics={"outlier_rate": 0.04, "shift_cosine_mean": 0.9})
    register(
        made, digest="d2", student=HOSTILE, metrics={"outlier_rate": 0.01, "shift_cosine_mean": 0.8},
        files=FILES | {"page.html": b"<script>1</script>", "weights.bin": b"x"},
    )  # fmt: skip
    register(made, model="other")
    made.decide(first, "champion", judged(True, f"better {HOSTILE}"))
    first.folder.write("report.html", b"<p>the page</p>")
    return made


@pytest.fixture
def client(registry: Registry) -> TestClient:
    return TestClient(site(registry, ["here"]), base_url="http://here")


def test_all_versions_stand_on_one_page_the_newest_first(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    places = [page.text.index(f'href="/{name}"') for name in ("demo/2", "demo/1", "other/1")]
    assert places == sorted(places)
    assert "champion" in page.text
    assert HOSTILE not in page.text
    assert "&lt;script&gt;" in page.text
    assert "script-src" not in page.headers["Content-Security-Policy"]
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_a_damaged_version_is_named_and_hides_no_other(tmp_path: Path) -> None:
    registry = Registry(Folder(str(tmp_path)))
    for number in (1, 2, 3):
        register(registry, digest=f"d{number}")
    (tmp_path / "demo" / "2" / "entry.json").write_text("{}")
    page = TestClient(site(registry, ["here"]), base_url="http://here").get("/")
    assert page.status_code == 200
    assert "Cannot read the registry record" in page.text
    assert 'href="/demo/3"' in page.text
    assert 'href="/demo/1"' in page.text
    assert "report.html" not in page.text


def test_versions_are_compared_each_measure_in_its_own_direction(client: TestClient) -> None:
    page = client.get("/compare?version=demo/1&version=demo/2").text
    assert "<strong>0.0100</strong>" in page
    assert "<strong>0.9000</strong>" in page
    assert page.count("<strong>0.") == 2
    assert "<small>0.0500</small>" in page
    assert "Nothing was ticked" in client.get("/compare").text


def test_a_version_has_its_verdict_lineage_and_files(client: TestClient) -> None:
    page = client.get("/demo/champion").text
    assert "better &lt;script&gt;" in page
    assert "student_digest" in page
    card = client.get("/demo/1/README.md")
    assert (card.text, card.headers["Content-Type"]) == ("# card", "text/plain; charset=utf-8")
    assert client.get("/demo/1/figures/curve.png").headers["Content-Type"] == "image/png"
    report = client.get("/demo/1/report.html")
    assert report.text == "<p>the page</p>"
    assert report.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")


@pytest.mark.parametrize(
    "path",
    ["/demo/3", "/demo/none", "/none/1", "/demo/2/page.html", "/demo/2/weights.bin",
     "/demo/1/model.safetensors", "/demo/1/%2e%2e/2/README.md", "/demo/2/report.html", "/a/b/c/d", "/x"],
)  # fmt: skip
def test_what_is_not_there_or_not_shown_is_said(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404, answer.text
    assert "Traceback" not in answer.text


def test_other_names_for_this_machine_are_not_answered(registry: Registry) -> None:
    answer = TestClient(site(registry, ["here"]), base_url="http://elsewhere").get("/")
    assert answer.status_code == 400


@contextmanager
def served(shell: Starter, registry: Registry) -> Iterator[tuple[Started, str]]:
    """The command at work, and its URL."""
    serving = shell.phreg("serve", registry.folder.url, "--port", "0")
    serving.says("Ctrl-C ends it")
    yield serving, next(word for word in serving.text.split() if word.startswith("http://127.0.0.1:"))


def test_the_command_serves_on_loopback_until_it_is_interrupted(registry: Registry, tmp_path: Path) -> None:
    with starter(tmp_path, PREFECT_HOME=str(tmp_path)) as shell, served(shell, registry) as (serving, url):
        with urllib.request.urlopen(url) as answer:
            assert b"Registered students" in answer.read()
        taken = shell.phreg("serve", registry.folder.url, "--port", url.rstrip("/").rpartition(":")[2])
        assert taken.ends() == 2
        assert "another --port" in taken.text
        nothing = shell.phreg("serve", str(tmp_path / "none"))
        assert nothing.ends() != 0
        assert "There is no registry" in nothing.text
        serving.interrupt(2)
        assert serving.ends() == 0, serving.tail
        assert "Traceback" not in serving.text


def test_it_fits_browsers(browser: Browser, registry: Registry, tmp_path: Path) -> None:
    """Its pages never scroll sideways, and the browser complains of nothing; ticking and comparing works."""
    with starter(tmp_path, PREFECT_HOME=str(tmp_path)) as shell, served(shell, registry) as (_, url):
        for size, scheme in itertools.product((PHONE, DESKTOP), ("light", "dark")):
            for path in ("", "demo/2", "compare?version=demo/1&version=demo/2&version=other/1"):
                with browser.open(url + path, size, scheme) as tab:
                    assert tab.evaluate("document.documentElement.scrollWidth") <= size[0]
                    assert tab.complaints == []
        with browser.open(url, PHONE) as tab:
            tab.evaluate("[...document.querySelectorAll('input')].slice(0, 2).forEach(box => box.click())")
            tab.evaluate("document.querySelector('button').click()")
            deadline = time.monotonic() + 60
            while tab.evaluate("document.querySelector('h1')?.textContent") != "Side by side":
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert tab.evaluate("document.querySelectorAll('thead th').length") == 3
