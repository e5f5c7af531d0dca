"""The page as Chromium shows it, on a phone and on a desktop, light and dark."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from phreg.report import render
from tests.report.browser import DESKTOP, PHONE, Browser, Tab
from tests.report.examples import HOSTILE, example

VIEWS = [(size, scheme) for size in (PHONE, DESKTOP) for scheme in ("light", "dark")]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(example(f"{HOSTILE} {'long' * 60}", groups=2)))
    return path


@pytest.fixture(scope="module", params=VIEWS, ids=lambda view: f"{view[0][0]}px-{view[1]}")
def view(request: pytest.FixtureRequest, browser: Browser, file: Path) -> Iterator[tuple[Tab, int, str]]:
    size, scheme = request.param
    with browser.open(file, size, scheme) as tab:
        yield tab, size[0], scheme


def test_it_is_whole_and_quiet(view: tuple[Tab, int, str], file: Path) -> None:
    """All pictures are decoded, nothing else is fetched, and the browser complains of nothing."""
    tab, _, _ = view
    assert tab.evaluate("document.images.length") == 16
    assert tab.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert tab.evaluate("document.scripts.length") == 0
    assert tab.requests == [file.as_uri()]
    assert tab.complaints == []


def test_it_fits_the_width(view: tuple[Tab, int, str]) -> None:
    """The page never scrolls sideways; a wide table does, in its own box."""
    tab, width, _ = view
    assert tab.evaluate("innerWidth") == width
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    too_wide = """[...document.querySelectorAll("h1, p, li, img, figure, svg, dd, .scroll, pre")]
        .filter(e => e.getBoundingClientRect().right > innerWidth + 0.5).length"""
    assert tab.evaluate(too_wide) == 0
    assert tab.evaluate('(b => b.scrollWidth > b.clientWidth)(document.querySelectorAll(".scroll")[1])')


def test_colours_follow_the_scheme_and_are_legible(view: tuple[Tab, int, str]) -> None:
    tab, _, scheme = view
    corner = np.asarray(Image.open(io.BytesIO(tab.screenshot())).convert("L"))[:4, :4] / 255
    assert (corner > 0.9).all() if scheme == "light" else (corner < 0.15).all()
    for selector in (
        "h1",
        ".kicker",
        ".reasons li",
        "nav a",
        "figcaption",
        "td strong",
        "small",
        "dt",
        "pre",
    ):
        assert _contrast(tab, selector) >= 4.5, selector


def test_panels_wrap(view: tuple[Tab, int, str]) -> None:
    """A phone shows image and blocks' sheet alone, the others in pairs, teacher left and student right."""
    tab, width, _ = view
    boxes = tab.evaluate(
        """[...document.querySelector(".panels").querySelectorAll("figure")].map(figure => {
            const box = figure.getBoundingClientRect();
            const image = figure.querySelector("img").getBoundingClientRect();
            return [Math.round(box.top), Math.round(box.left), image.width, image.height];
        })"""
    )
    sheet = boxes.pop(3)
    assert abs(sheet[2] - sheet[3] * 77 / 25) < 1
    assert all(abs(w - h) < 1 for _, _, w, h in boxes)
    boxes.insert(3, sheet)
    rows = [len({left for t, left, _, _ in boxes if t == top}) for top in sorted({box[0] for box in boxes})]
    assert rows == ([1, 2, 1, 1, 1, 2] if width == PHONE[0] else [4, 4])
    assert all(w > 0.35 * width for _, _, w, _ in boxes) or width > PHONE[0]
    assert (
        tab.evaluate('getComputedStyle(document.querySelector(".pixelated")).imageRendering') == "pixelated"
    )


def test_marks_lie_on_their_patches(view: tuple[Tab, int, str]) -> None:
    tab, _, _ = view
    offset = tab.evaluate(
        """(marks => {
            const frames = marks.getBoundingClientRect();
            const image = marks.previousSibling.getBoundingClientRect();
            return ["left", "top", "width", "height"].map(side => Math.abs(frames[side] - image[side]));
        })(document.querySelector(".marks"))"""
    )
    assert max(offset) < 0.5
    assert tab.evaluate('document.querySelector(".marks").getAttribute("viewBox")') == "0 0 77 25"


def test_policy_forbids_scripts_and_network(browser: Browser, file: Path, tmp_path: Path) -> None:
    """Even if markup got into a page, it could neither run nor call home."""
    tampered = tmp_path / "tampered.html"
    evil = '<script>document.title = "run"</script><img src="http://127.0.0.1:9/x" style="width: 1px">'
    tampered.write_text(file.read_text().replace("<main>", f"<main>{evil}", 1))
    with browser.open(tampered, DESKTOP) as tab:
        assert tab.evaluate("document.title") != "run"
        assert tab.evaluate('document.querySelector("main > img").naturalWidth') == 0
        assert len([text for text in tab.complaints if "Content Security Policy" in text]) == 3


def _contrast(tab: Tab, selector: str) -> float:
    """WCAG's ratio of an element's text to the first opaque ground behind it."""
    text, ground = tab.evaluate(
        f"""(element => {{
            const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
            let behind = element;
            while (numbers(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
            return [element, behind].map((e, i) =>
                numbers(getComputedStyle(e)[i ? "backgroundColor" : "color"]).slice(0, 3));
        }})(document.querySelector({selector!r}))"""
    )
    light, dark = sorted((_luminance(colour) for colour in (text, ground)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: list[float]) -> float:
    channels = np.array(colour) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
