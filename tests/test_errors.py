import pickle

import pytest

import phreg.errors
from phreg.errors import PhregError

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
