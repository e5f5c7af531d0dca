"""HTML elements built as a tree, so that no text can become markup."""

import re
from xml.etree.ElementTree import Element, tostring

Child = Element | str | None

_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]")
"""Control characters, lone surrogates, and marks that turn the direction of the text after them."""


def element(tag: str, *children: Child, **attributes: str | None) -> Element:
    """An element; `class_` stands for `class`, and `_` in other names for `-`. None is left out."""
    made = Element(tag, {_attribute(k): clean(v) for k, v in attributes.items() if v is not None})
    for child in children:
        if isinstance(child, str):
            _append_text(made, clean(child))
        elif child is not None:
            made.append(child)
    return made


def clean(text: str) -> str:
    """Text with everything that no page may hold replaced by U+FFFD."""
    return _UNFIT.sub("\ufffd", text)


def to_html(root: Element) -> str:
    """The tree as HTML text: text and attributes escaped, void elements without an end tag."""
    return tostring(root, encoding="unicode", method="html")


def _append_text(parent: Element, text: str) -> None:
    if len(parent):
        parent[-1].tail = (parent[-1].tail or "") + text
    else:
        parent.text = (parent.text or "") + text


def _attribute(name: str) -> str:
    return name.rstrip("_").replace("_", "-")
