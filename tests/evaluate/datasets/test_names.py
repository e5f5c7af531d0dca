import pytest

from phreg.errors import DataError
from phreg.evaluate.datasets.names import official_names, parse_names

# Titles by index, as the official label lists number them.
KNOWN = {
    "voc21": (21, {0: "background", 5: "bottle", 11: "diningtable", 16: "pottedplant", 20: "tvmonitor"}),
    "context60": (60, {0: "background", 2: "bag", 10: "bottle", 30: "ground", 37: "person", 59: "wood"}),
    "coco_object": (81, {0: "background", 1: "person", 12: "stop sign", 40: "bottle", 80: "toothbrush"}),
    "coco_stuff": (
        171,
        {0: "person", 39: "bottle", 79: "toothbrush", 80: "banner", 93: "clothes", 127: "paper", 143: "sea",
         144: "shelf", 157: "tree", 170: "wood"},
    ),
    "cityscapes": (19, {0: "road", 8: "vegetation", 11: "person", 12: "rider", 16: "train", 18: "bicycle"}),
    "ade20k": (
        150,
        {0: "wall", 7: "bed", 8: "windowpane", 20: "car", 27: "mirror", 76: "boat", 80: "bus", 98: "bottle",
         103: "ship", 127: "bicycle", 130: "screen", 143: "monitor", 149: "flag"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_official_titles_at_their_index(name: str) -> None:
    classes = official_names(name)
    count, titles = KNOWN[name]
    assert len(classes) == count
    assert {index: classes[index][0] for index in titles} == titles


@pytest.mark.parametrize("name", KNOWN)
def test_no_name_stands_for_two_classes(name: str) -> None:
    names = [text.lower() for names in official_names(name) for text in names]
    assert sorted(names) == sorted(set(names))
    assert all(text == text.strip() and text.isascii() for text in names)


def test_alphabetical_sets_are_so() -> None:
    """Context's 59 and COCO's 91 kinds of stuff are numbered by the alphabet."""
    for names in (official_names("context60")[1:], official_names("coco_stuff")[80:]):
        titles = [names[0] for names in names]
        assert titles == sorted(titles)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a\n\nb", "line 2: no class name"),
        ("a\nb\na, c", "line 3: 'a'"),
        ("", "0 classes"),
        (" , \n", "line 1"),
    ],
)
def test_lists_that_cannot_be_numbered(text: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        parse_names(text, "classes.txt")


def test_255_is_no_class() -> None:
    assert len(parse_names("\n".join(map(str, range(255))), "classes.txt")) == 255
    with pytest.raises(DataError, match="256 classes"):
        parse_names("\n".join(map(str, range(256))), "classes.txt")
