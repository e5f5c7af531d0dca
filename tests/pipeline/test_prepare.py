from pathlib import Path

import pytest
import safetensors.torch

from phreg.config.run import load_config
from phreg.errors import (
    CheckpointError,
    ConfigError,
    ModelError,
    ObjectNotFoundError,
    PhregError,
)
from phreg.pipeline.prepare import prepare
from tests.helpers import tiny_clip
from tests.small_run import make_config, write_config


def test_everything_gets_its_address(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path, targets={"denoised": {"views": 4}, "unused": {"views": 2}}))
    prepared = prepare(config)
    assert list(prepared.targets) == ["denoised"]
    assert [Path(url).name for url in prepared.train] == ["tiny-000.tar", "tiny-001.tar"]
    assert (tmp_path / "run" / "cache" / prepared.targets["denoised"] / "spec.json").exists()
    assert prepare(config) == prepared


def test_targets_only_for_evaluation_need_the_held_out_shards_alone(tmp_path: Path) -> None:
    targets = {"denoised": {"views": 4}, "raw": {"views": 1}}
    students = [{"name": "raw", "targets": "raw", "registers": 1}]
    config = load_config(write_config(tmp_path, targets=targets, students=students))
    prepared = prepare(config)
    assert len(prepared.shards_for(config, "raw")) == 3
    assert prepared.shards_for(config, "denoised") == list(prepared.validation)


@pytest.mark.parametrize(
    ("override", "error", "message"),
    [
        ("validation={folder}/shards/tiny-001.tar", ConfigError, "Held-out shards are also training shards"),
        ("images={folder}/shards/none-*.tar", ConfigError, "none-"),
        ("images={folder}/absent.tar", ObjectNotFoundError, "absent.tar"),
        ("training.workers=3", ConfigError, "3 training workers cannot share 8 crops"),
        ("teacher.image_size=60", ModelError, "multiples of 8"),
        ("teacher.model=timm/resnet18", ModelError, "resnet18"),
        ("teacher.checkpoint={folder}/wrong.safetensors", CheckpointError, "wrong.safetensors"),
        ("students.0.unlock=[blocks.9.*]", ModelError, "blocks.9"),
        ("images=s3://no-such-bucket-of-phreg/a.tar", PhregError, "no-such-bucket-of-phreg"),
        ("output=s3://no-such-bucket-of-phreg/out", PhregError, "no-such-bucket-of-phreg"),
    ],
)
def test_what_cannot_run_is_found_before_it_starts(
    override: str, error: type[PhregError], message: str, tmp_path: Path, s3_server: str
) -> None:
    path = write_config(tmp_path)
    safetensors.torch.save_file(tiny_clip(embed_dim=64).state_dict(), tmp_path / "wrong.safetensors")
    with pytest.raises(error) as caught:
        prepare(load_config(path, [override.format(folder=tmp_path)]))
    assert message in str(caught.value)
    assert caught.value.remedy or caught.value.expected


def test_more_workers_than_shards_are_fine_where_there_are_crops_for_a_batch_each(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    prepare(load_config(path, ["training.workers=3", "students.0.batch_size=2"]))
    prepare(load_config(path, ["training.workers=3", "targets.denoised.crops_per_image=2"]))


def test_a_damaged_shard_is_left_to_be_reported_after_the_others(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    (tmp_path / "shards" / "tiny-000.tar").write_bytes(b"no tar")
    prepare(load_config(path, ["training.workers=2"]))


def test_two_shards_of_one_name(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "tiny-000.tar").write_bytes((tmp_path / "shards" / "tiny-000.tar").read_bytes())
    path = write_config(tmp_path, images=[config["images"], f"{tmp_path}/other/tiny-000.tar"])
    with pytest.raises(ConfigError, match="tiny-000"):
        prepare(load_config(path))


def test_a_spec_that_was_altered_is_put_right(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = load_config(write_config(tmp_path))
    spec = tmp_path / "run" / "cache" / prepare(config).targets["denoised"] / "spec.json"
    spec.write_text(spec.read_text().replace('"views":4', '"views":5'))
    prepare(config)
    assert "views: 5 instead of 4" in caplog.text
    assert '"views":4' in spec.read_text()


@pytest.mark.parametrize(
    "spelling", ["{folder}/shards/../shards/tiny-001.tar", "{folder}/shards/tiny-00[1].tar"]
)
def test_held_out_shards_are_told_by_name_not_by_spelling(spelling: str, tmp_path: Path) -> None:
    path = write_config(tmp_path, validation=spelling.format(folder=tmp_path))
    with pytest.raises(ConfigError, match="also training shards"):
        prepare(load_config(path))
