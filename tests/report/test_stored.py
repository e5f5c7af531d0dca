import json

import pytest

from phreg.errors import DataError
from phreg.report import section_from_json, section_to_json
from tests.report.examples import example


def test_a_section_is_read_back_as_it_was() -> None:
    section = example(groups=2).sections[0]
    stored = section_to_json(section)
    assert section_from_json(stored, "here") == section
    assert section_to_json(section_from_json(stored, "here")) == stored


@pytest.mark.parametrize("damage", ["cut", "unknown", "colour"])
def test_what_is_no_section_is_refused_by_its_place(damage: str) -> None:
    stored = section_to_json(example().sections[0])
    if damage == "cut":
        stored = stored[:-20]
    else:
        content = json.loads(stored)
        if damage == "unknown":
            content["script"] = "x"
        else:
            content["pictures"][0]["swatches"][0]["colour"] = "url(http://evil.example)"
        stored = json.dumps(content).encode()
    with pytest.raises(DataError, match=r"report/x\.json"):
        section_from_json(stored, "s3://b/m/1/report/x.json")
