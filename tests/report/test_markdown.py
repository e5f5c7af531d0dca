from phreg.report.markdown import markdown_table


def test_no_cell_breaks_out_of_its_own() -> None:
    assert markdown_table(["a", "b"], [["x|y", "two\nlines"], ["", "z"]]).splitlines() == [
        "| a | b |", "| --- | --- |", "| x\\|y | two lines |", "|  | z |",
    ]  # fmt: skip
