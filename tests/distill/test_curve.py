from hypothesis import given
from hypothesis import strategies as st

from phreg.distill.curve import CurvePoint, curve_from_jsonl, curve_to_jsonl, last_point

number = st.floats(allow_nan=False, allow_infinity=False)
points = st.builds(
    CurvePoint,
    step=st.integers(1),
    epoch=number,
    split=st.sampled_from(["train", "validation"]),
    losses=st.fixed_dictionaries({"cosine": number, "mse": number, "total": number}),
    lr=number,
    grad_norm=st.none() | number,
)


@given(st.lists(points))
def test_every_bit_survives_the_file(curve: list[CurvePoint]) -> None:
    text = curve_to_jsonl(curve)
    assert curve_from_jsonl(text) == curve
    assert text.count("\n") == len(curve)


def test_the_last_point_of_a_split() -> None:
    curve = [
        CurvePoint(s, 1, split, {"cosine": s, "mse": 0, "total": s}, 1, None)
        for s, split in ((1, "train"), (2, "validation"), (3, "train"))
    ]
    assert last_point(curve, "validation").step == 2
    assert last_point(curve, "train").losses == {"cosine": 3, "mse": 0, "total": 3}
