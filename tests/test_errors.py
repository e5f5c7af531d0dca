import pickle
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

import phreg.errors
from phreg.errors import PhregError, hide_credentials
from phreg.storage.messages import shown

ERRORS = [
    error
    for error in vars(phreg.errors).values()
    if isinstance(error, type) and issubclass(error, PhregError)
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_every_error_survives_pickling(error: type[PhregError]) -> None:
    original = error("the problem", expected="this", found="that", remedy="do so")
    copy = pickle.loads(pickle.dumps(original))
    assert type(copy) is error
    assert str(copy) == str(original)
    assert copy.remedy == "do so"


def test_the_tree_at_the_top_of_the_file_is_complete() -> None:
    assert all(error.__name__ in (phreg.errors.__doc__ or "") for error in ERRORS)


def test_message_has_all_parts() -> None:
    text = str(PhregError("It is broken.", "whole", "broken", "mend it"))
    assert text == "It is broken\n  expected: whole\n  found: broken\n  what to do: mend it"


def test_credentials_of_urls_are_hidden() -> None:
    error = PhregError(
        "Cannot read https://me:canary@host/a.tar?X-Amz-Signature=canary", found="s3://k:canary@b/c"
    )
    assert "canary" not in str(error)
    assert "host/a.tar" in str(error)


_SECRET = st.text(string.ascii_letters + string.digits + "+/=", min_size=1).map(lambda text: f"~{text}~")


@given(
    _SECRET, _SECRET, st.sampled_from(["", "/x?a=b&c=d", "/a@2x.png"]), st.sampled_from(["", "'", '"', "("])
)
def test_no_user_or_password_is_shown(user: str, password: str, path: str, quote: str) -> None:
    said = hide_credentials(f"cannot read {quote}s3://{user}:{password}@bucket{path}{quote}, no such place")
    assert user not in said
    assert password not in said
    assert said.startswith("cannot read ")
    assert said.endswith(", no such place") or "?" in path


@given(st.text(st.characters(codec=None), max_size=50))
def test_whatever_a_name_holds_can_be_printed(name: str) -> None:
    said = str(PhregError(f"Cannot read {name}", found=name))
    said.encode()
    assert all(letter.isprintable() or letter in "\n\t" for letter in said)
    assert shown(name).isprintable()


def test_a_query_of_a_web_server_is_hidden_whatever_it_is() -> None:
    assert (
        hide_credentials("cannot read https://host/a.tar?canary, no")
        == "cannot read https://host/a.tar?*** no"
    )


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/photos/a@2x.png",
        "me@example.org",
        "what is 1//2 @ home?",
        "is it https://host/a?",
        "https://host:80/a b@c",
        "s3://bucket/year=202?/{a,b}/month=*/photos-{0..3}-00?.tar",
        "",
    ],
)
def test_ordinary_texts_stay(text: str) -> None:
    assert hide_credentials(text) == text


@pytest.mark.parametrize("piece", ["?", "&", "/", "//", "@", "//a:", "?a", "//@", ":@"])
def test_any_text_is_gone_through_quickly(piece: str) -> None:
    """A million characters; where the time grows with the square, hours."""
    assert len(hide_credentials(piece * (1_000_000 // len(piece)))) <= 2_000_000
