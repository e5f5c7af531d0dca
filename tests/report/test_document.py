"""The page as a file: whole by itself, well formed, safe whatever a name holds, and legible to all."""

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from phreg.errors import DataError
from phreg.report import Panel, PictureGroup, ReportPage, Section, inputs_of, render
from tests.report.examples import HOSTILE, example, pictures

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Elements with their attributes, and text by the element it stands in. Fails on bad nesting."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.text[self.open[-1]] = self.text.get(self.open[-1], "") + data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.mark.parametrize("name", ["photos: reg16", HOSTILE])
def test_nothing_comes_from_outside_and_nothing_runs(name: str) -> None:
    page = Page(render(example(name)))
    assert not {"script", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.elements}
    for _, attributes in page.elements:
        assert not any(attribute.startswith("on") or attribute == "style" for attribute in attributes)
    links = [a.get("src") or a.get("href") for _, a in page.elements if a.get("src") or a.get("href")]
    assert links
    assert all(link is not None and link.startswith(("data:", "#")) for link in links)
    policy = next(a for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")["content"]
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "script" not in policy
    assert "url(" not in page.text["style"]
    assert "@import" not in page.text["style"]


def test_hostile_names_are_shown_as_they_are_but_for_control_characters() -> None:
    page = Page(render(example(HOSTILE)))
    shown = HOSTILE.replace("\x00", "\ufffd").replace("\u202e", "\ufffd")
    assert page.text["h1"] == page.text["title"] == shown
    assert shown in page.text["pre"] + page.text["code"]
    assert shown in page.text["dt"]
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in Page(render(example())).elements]


def test_text_that_is_no_unicode_can_be_written() -> None:
    html = render(replace(example(), title="broken \ud800 name"))
    assert "broken \ufffd name" in html.encode().decode()


def test_every_picture_table_and_region_has_a_name_and_every_link_its_target() -> None:
    page = Page(render(example()))
    pictures = page.all("img")
    assert len(pictures) == 8
    for picture in pictures:
        assert picture["alt"]
        assert int(picture["width"] or 0) > 0
        assert int(picture["height"] or 0) > 0
    for attributes in page.all("svg"):
        assert attributes.get("aria-hidden") == "true" or attributes.get("aria-label")
    assert len(page.all("caption")) == len(page.all("table")) == 2
    assert len(page.all("figcaption")) == len(page.all("figure"))
    anchors = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    assert {a["aria-labelledby"] for _, a in page.elements if "aria-labelledby" in a} <= anchors
    targets = {(a["href"] or "").removeprefix("#") for a in page.all("a")}
    assert targets
    assert targets <= anchors
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1


PARTS = {
    "Measures": {"measures": None},
    "Features, before and after": {"sections": ()},
    "Training": {"curves": ()},
    "Load it": {"loading": ""},
    "How it was made": {"making": ()},
    "Lineage": {"lineage": (), "config": ""},
}


@pytest.mark.parametrize("title", PARTS)
def test_a_part_is_there_if_it_has_content(title: str) -> None:
    whole, without = Page(render(example())), Page(render(replace(example(), **PARTS[title])))
    assert title in whole.text["h2"]
    assert title in whole.text["a"]
    assert title not in without.text["h2"]
    assert title not in without.text["a"]


def test_an_empty_page_is_a_page() -> None:
    page = Page(render(ReportPage("t", "s", "v")))
    assert page.text["h1"] == "t"
    assert not page.all("table")


def test_gate_and_reasons_are_shown() -> None:
    page = Page(render(example()))
    assert page.text["span"].startswith("promoted to champion")
    assert "photos: reg16 beats the teacher" in page.text["li"]


def test_equal_pages_give_equal_files_that_name_their_inputs() -> None:
    assert render(example()) == render(example())
    assert inputs_of(render(example())) == "d1"
    assert inputs_of("<html></html>") is None
    claims_another = replace(example(), title='<meta name="phreg-inputs" content="d2">')
    assert inputs_of(render(claims_another)) == "d1"


def test_what_is_no_picture_is_refused_by_its_caption() -> None:
    group = PictureGroup("g", (Panel("the bad one", b"GIF89a not a picture", "alt"),))
    with pytest.raises(DataError, match="the bad one"):
        render(replace(example(), sections=(Section("s", pictures=(group,)),)))


def test_a_page_of_four_large_images_is_small() -> None:
    """Even where every image is noise, which compresses worst."""
    section = Section("s", pictures=tuple(pictures(str(i), side=1024) for i in range(4)))
    assert len(render(replace(example(), sections=(section,))).encode()) < 3_000_000
