"""Denoisers that see some images first, from a config to committed targets."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from phreg.cache import TargetStore, open_cache
from phreg.cli import main
from phreg.config.denoisers import TestTimeRegistersConfig
from phreg.config.run import RunConfig, load_config
from phreg.data import read_shard
from phreg.errors import ConfigError
from phreg.generate import TargetGenerator, crops_of
from phreg.method.denoising import denoise
from phreg.models import hub_files, load_backbone, load_teacher
from phreg.pipeline.plan import make_plan
from phreg.pipeline.prepare import prepare
from phreg.pipeline.verify import verify_store
from phreg.storage import Folder
from phreg.storage.checksummed import from_checksummed_json, to_checksummed_json
from tests.helpers import tiny_dinov2
from tests.method.loud import loud, placed
from tests.small_run import write_config

REGISTERS = {"method": "test_time_registers", "keep": 2, "images": 6, "then": {"method": "views", "views": 3}}
POSITIONS = {"method": "position_subspace", "images": 6}


def config_of(folder: Path, **targets: Any) -> RunConfig:
    """A run whose teacher has outliers, and features that tell positions."""
    students = [{"name": name, "targets": name, "registers": 1} for name in targets]
    path = write_config(folder, targets=targets, students=students)
    teacher = loud(placed(load_backbone(tiny_dinov2(depth=3))))
    for name, data in hub_files(teacher).items():
        (folder / "teacher" / name).write_bytes(data)
    return load_config(path)


def calibrations(config: RunConfig) -> list[Path]:
    return sorted(Path(config.cache_url, "calibrations").glob("*.json"))


@pytest.mark.parametrize("target", [REGISTERS, POSITIONS])
def test_targets_are_those_of_the_calibrated_denoiser(tmp_path: Path, target: dict) -> None:
    config = config_of(tmp_path, clean=target)
    prepared = prepare(config)
    assert len(calibrations(config)) == 1
    store = TargetStore.open(Folder(config.cache_url), prepared.targets["clean"])
    denoiser = store.spec.denoised_by
    assert denoiser.calibration_images == 0
    passes = 3 if target is REGISTERS else 1
    teacher = load_teacher(config.teacher)
    generator = TargetGenerator(partial(load_teacher, config.teacher), store)
    for url in (*prepared.train, *prepared.validation):
        assert generator.generate(url).forward_passes == 4 * passes
    rows = store.read("tiny-002")
    for row, sample in enumerate(read_shard(prepared.validation[0]).samples):
        (crop,) = crops_of(store.spec, "tiny-002", sample)
        image = teacher.normalize(torch.from_numpy(crop.pixels)[None])
        expected = denoise(teacher, image, crop.views, method=denoiser)[0].flatten(1).T
        assert np.array_equal(rows.features[[row]].decode()[0], expected.half().float().numpy())
        assert not torch.allclose(denoise(teacher, image, crop.views)[0].flatten(1).T, expected, atol=1e-2)
    assert verify_store(store, str(tmp_path / "run.yaml"), samples=2, seed=0).problems == []


def test_it_is_done_once_and_believed(tmp_path: Path) -> None:
    """What is kept is used, though this machine would find something else."""
    config = config_of(tmp_path, clean=REGISTERS)
    first = prepare(config)
    assert prepare(config).targets == first.targets
    (path,) = calibrations(config)
    fields = from_checksummed_json(path.read_bytes())
    neurons = fields["denoiser"]["neurons"]
    assert len(neurons) == 2
    fields["denoiser"]["neurons"] = [[1, 7]]
    path.write_bytes(to_checksummed_json(fields))
    digest = prepare(config).targets["clean"]
    spec = open_cache(config.cache_url).specs()[digest]
    assert isinstance(spec.denoiser, TestTimeRegistersConfig)
    assert spec.denoiser.neurons == ((1, 7),)


def test_what_is_damaged_is_found_again(tmp_path: Path) -> None:
    config = config_of(tmp_path, clean=REGISTERS)
    first = prepare(config)
    (path,) = calibrations(config)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"keep":2', b'"keep":3'))
    assert prepare(config) == first
    assert path.read_bytes() == whole


def test_a_plan_writes_nothing_and_counts_the_passes(tmp_path: Path) -> None:
    config = config_of(tmp_path, clean=REGISTERS, flat=POSITIONS, plain={"views": 4})
    planned = {targets.name: targets for targets in make_plan(config).targets}
    assert not Path(config.cache_url).exists()
    assert {name: found.forward_passes for name, found in planned.items()} == {
        "clean": 12 * 3, "flat": 12, "plain": 12 * 4,
    }  # fmt: skip
    assert planned["clean"].by == "test-time registers, 3 views"
    assert {name: found.digest for name, found in planned.items()} == prepare(config).targets


def test_a_plan_counts_what_is_fitted_beside_the_passes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fitted = {"method": "dvt", "views": 4, "steps": 50}
    config = config_of(tmp_path, fitted=fitted, plain={"views": 4})
    planned = {targets.name: targets for targets in make_plan(config).targets}
    assert {name: (found.forward_passes, found.fitting_steps) for name, found in planned.items()} == {
        "fitted": (12 * 4, 12 * 50), "plain": (12 * 4, 0),
    }  # fmt: skip
    assert planned["fitted"].flops > planned["plain"].flops
    assert main(["plan", str(tmp_path / "run.yaml")]) == 0
    shown = capsys.readouterr().out
    assert "fitting steps" in shown
    assert "DVT of 4 views, 50 steps" in shown
    prepared = prepare(config)
    store = TargetStore.open(Folder(config.cache_url), prepared.targets["fitted"])
    generator = TargetGenerator(partial(load_teacher, config.teacher), store)
    for url in (*prepared.train, *prepared.validation):
        generator.generate(url)
    assert verify_store(store, str(tmp_path / "run.yaml"), samples=2, seed=0).problems == []


def test_a_teacher_without_outliers_is_refused_before_anything_starts(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path, targets={"denoised": {"method": "test_time_registers"}}))
    with pytest.raises(ConfigError, match="no outliers that registers could take"):
        prepare(config)
    assert not Path(config.cache_url).exists()


def test_options_for_another_network_are_refused_before_anything_starts(tmp_path: Path) -> None:
    target = {"method": "test_time_registers", "neurons": [[4, 0]]}
    config = load_config(write_config(tmp_path, targets={"denoised": target}))
    with pytest.raises(ConfigError, match="no hidden unit 0 in a block 4"):
        prepare(config)
