import csv
import io
import shutil

import pytest
import yaml

from phreg.config.labels import SetColumn
from phreg.config.run import RunConfig, parse_config
from phreg.config.table import TableConfig, load_table
from phreg.demo.world.write import write_label_folder
from phreg.errors import ConfigError, PhregError
from phreg.pipeline.columns_present import is_present
from phreg.pipeline.page_labels import _table as scores_table
from phreg.pipeline.prepare import prepare
from phreg.pipeline.table import Table, as_csv, check_columns, check_rows, markdown, records
from phreg.storage import Folder
from tests.helpers import save_tiny_open_clip
from tests.small_run import make_config

TABLE = Table(
    name="small",
    title="A title",
    seeds=(0, 1),
    scores={
        "vanilla": [{"scenes mIoU": 40.0, "depth RMSE": 0.5}, {"scenes mIoU": 42.0, "depth RMSE": 0.5}],
        "student": [
            {},
            {"scenes mIoU": 50.0, "depth RMSE": 0.75, "outlier_rate": 0.01, "scenes IoU of a": 3.0},
        ],
    },
    absent=("voc21",),
    failures={"student (seed 0)": "it failed"},
)


def table_config(folder, **changes) -> TableConfig:
    run = make_config(folder, teacher={"model": save_tiny_open_clip(folder / "clip"), "read_out": "naclip"})
    return TableConfig.model_validate({"name": "small", "run": run, "label_free": True} | changes)


def run_config(folder, sets: list, **labels) -> RunConfig:
    teacher = {"model": save_tiny_open_clip(folder / "clip"), "read_out": "naclip"}
    return parse_config(make_config(folder, teacher=teacher, labels={"sets": sets, **labels}))


def test_cells_are_mean_and_spread_over_seeds_and_the_best_is_bold() -> None:
    text = markdown(TABLE)
    assert "| vanilla | 41.0 ± 1.4 | **0.5000** ± 0.0000 |  |" in text
    assert "| student | **50.0** (1 of 2) | 0.7500 (1 of 2) | **0.0100** (1 of 2) |" in text
    assert "scenes mIoU ↑ | depth RMSE ↓ | outlier_rate ↓" in text
    assert "left out: voc21" in text
    assert "student (seed 0) failed: it failed" in text
    assert "IoU of" not in text
    assert records(TABLE)[0]["scenes mIoU"] == "41.0 ± 1.4"


def test_images_left_out_are_counted_and_never_best() -> None:
    rows = {"a": (40.0, 12345.0), "b": (50.0, 1.0), "c": (45.0, 0.0)}
    scores = {
        row: {"scenes mIoU": miou, "scenes skipped": skipped, "depth skipped": 0.0}
        for row, (miou, skipped) in rows.items()
    }
    text = markdown(Table("small", "", (0,), {row: [found] for row, found in scores.items()} | {"d": [{}]}))
    assert "| method | scenes mIoU ↑ | scenes skipped ↓ |\n" in text
    assert text.splitlines()[2:6] == [
        "| a | 40.0 | 12345 |", "| b | **50.0** | 1 |", "| c | 45.0 | 0 |", "| d |  |  |"
    ]  # fmt: skip
    of_page = scores_table(scores | {"d": {}})
    assert [[cell.text for cell in row[1:]] for row in of_page.rows] == [
        ["40", "50", "45", ""], ["12345", "1", "0", ""]
    ]  # fmt: skip
    assert [[cell.best for cell in row[1:]] for row in of_page.rows] == [
        [False, True, False, False], [False] * 4
    ]  # fmt: skip


def test_csv_has_every_value() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(TABLE))))
    assert len(rows) == 8
    assert {row["seed"] for row in rows if row["method"] == "student"} == {"1"}  # seed 0 failed
    assert rows[2] == {
        "table": "small", "method": "vanilla", "seed": "1", "measure": "scenes mIoU", "value": "42"
    }  # fmt: skip


def test_seeds_reach_crops_and_students(tmp_path) -> None:
    config = table_config(tmp_path, seeds=[3, 4])
    assert config.seeded(4).seed == 4
    assert {student.seed for student in config.seeded(4).students} == {4}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seeds": [1, 1]}, "two seeds are called '1'"),
        ({"teacher_rows": [{"name": "one", "read_out": "value"}]}, "two rows are called 'one'"),
        ({"teacher_rows": [{"name": "a|b", "read_out": "value"}]}, "should match pattern"),
        ({"colour": 1}, "Extra inputs"),
        ({"label_free": False}, "without columns"),
    ],
)
def test_what_cannot_be_a_table(tmp_path, changes, said) -> None:
    with pytest.raises(ValueError, match=said):
        table_config(tmp_path, **changes)


def test_labelled_sets_that_are_not_there_are_left_out(tmp_path) -> None:
    missing = {"name": "voc21", "kind": "voc21", "root": str(tmp_path / "nowhere")}
    scenes = {"name": "scenes", "kind": "folder", "root": str(tmp_path / "labelled")}
    config = run_config(tmp_path, [missing, scenes])
    assert not is_present(SetColumn(**scenes))
    assert prepare(config).absent == ("voc21", "scenes")
    write_label_folder(Folder(str(tmp_path / "labelled")), 0, range(1), 32)
    prepared = prepare(config)
    assert [column.name for column in prepared.columns] == ["scenes"]
    assert prepared.absent == ("voc21",)


def test_a_table_of_sets_that_are_not_there_starts_nothing(tmp_path) -> None:
    missing = {"name": "voc21", "kind": "voc21", "root": str(tmp_path / "nowhere")}
    run = run_config(tmp_path, [missing])
    table = TableConfig(name="small", run=run)
    with pytest.raises(ConfigError, match=r"(?s)None of the labelled sets.*voc21"):
        check_columns(table, prepare(run))


def test_a_row_that_cannot_clean_this_teacher_starts_nothing(tmp_path) -> None:
    row = {"name": "a", "read_out": "value", "method": "test_time_registers", "neurons": [[9, 0]]}
    fine = {"name": "b", "read_out": "value", "method": "refined_views"}
    check_rows(table_config(tmp_path, teacher_rows=[fine]))
    with pytest.raises(ConfigError, match="no hidden unit 0 in a block 9"):
        check_rows(table_config(tmp_path, teacher_rows=[fine, row]))


def test_a_labelled_set_in_no_layout_starts_nothing(tmp_path) -> None:
    (tmp_path / "labelled").mkdir()
    config = run_config(tmp_path, [{"name": "a", "kind": "ade20k", "root": str(tmp_path / "labelled")}])
    with pytest.raises(ConfigError, match="labelled"):
        prepare(config)


@pytest.mark.parametrize(
    ("part", "change", "said"),
    [
        ("sets", {"segmentation": {"window": 20}}, "patches of 8"),
        ("sets", {"segmentation": {"window": 16, "stride": 24}}, "Windows leave gaps"),
        ("sets", {"split": "depths"}, "nothing to embed"),
        ("probes", {"probe": {"image_size": 60}}, "patches of 8"),
        ("probes", {"test": {"split": "other"}}, "same classes"),
        ("probes", {"train": {"split": "depths"}, "test": {"split": "depths"}}, "same classes"),
        ("probes", {"task": "depth", "test": {"split": "other"}}, "cannot be probed for depth"),
    ],
)
def test_settings_that_cannot_be_measured_start_nothing(tmp_path, part, change, said) -> None:
    for split in ("scenes", "other", "depths"):
        write_label_folder(Folder(str(tmp_path / split)), 0, range(1), 32)
    shutil.rmtree(tmp_path / "other" / "depth")
    (tmp_path / "other" / "classes.txt").write_text("sky\n")
    shutil.rmtree(tmp_path / "depths" / "labels")
    here = {"kind": "folder", "root": str(tmp_path), "split": "scenes"}
    column = {"name": "col", **here} if part == "sets" else {
        "name": "col", "task": "segmentation", "train": here, "test": here
    }  # fmt: skip
    for key, value in change.items():
        column[key] = here | value if key in ("train", "test") else value
    run = run_config(tmp_path, []).model_dump() | {"labels": {part: [column]}}
    with pytest.raises(PhregError, match=f"(?s)col cannot be measured.*{said}"):
        prepare(parse_config(run))


def test_text_and_features_must_share_a_space(tmp_path) -> None:
    write_label_folder(Folder(str(tmp_path / "labelled")), 0, range(1), 32)
    other = save_tiny_open_clip(tmp_path / "other", embed_dim=24)
    scenes = {"name": "scenes", "kind": "folder", "root": str(tmp_path / "labelled")}
    with pytest.raises(ConfigError, match=r"(?s)space of the text tower.*16.*24"):
        prepare(run_config(tmp_path, [scenes], text=other))


def test_a_table_file_names_the_file_of_its_run(tmp_path) -> None:
    config = table_config(tmp_path).model_dump(mode="json")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/run.yaml").write_text(yaml.safe_dump(config.pop("run")))
    (tmp_path / "table.yaml").write_text(yaml.safe_dump(config | {"run": "sub/run.yaml"}))
    table = load_table(tmp_path / "table.yaml", ["run.students.0.registers=7"])
    assert table.run.students[0].registers == 7
    (tmp_path / "table.yaml").write_text("name: a\nrun: nowhere.yaml\n")
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_table(tmp_path / "table.yaml")
    with pytest.raises(ConfigError, match=r"config of a run, not of a table(?s:.)*phreg run "):
        load_table(tmp_path / "sub/run.yaml")
