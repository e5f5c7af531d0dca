"""The device of a run: numbers of GPUs for actors and workers, decided before it begins."""

from pathlib import Path

import pytest

from phreg.cache import TargetStore
from phreg.cli import main
from phreg.config.run import load_config
from phreg.device import Gpus
from phreg.errors import ConfigError
from phreg.pipeline import device
from phreg.pipeline.device import on_its_device, planned_device
from phreg.pipeline.prepare import prepare
from phreg.pipeline.students import student_job
from phreg.pipeline.targets import make_targets
from phreg.pipeline.verify import verify_store
from phreg.storage import Folder
from tests.small_run import make_config, write_config

NONE = Gpus(0, "this machine has no GPU")
ONE = Gpus(1, "this machine has a GPU")
MORE = Gpus(1, "the Ray cluster has 1 GPU, on 1 of 3 nodes", may_come=True)


def resolved(folder: Path, there: Gpus, *overrides: str) -> tuple[float | None, float | None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device, "_gpus_of", lambda address: there)
        config, _ = on_its_device(load_config(write_config(folder), overrides))
    return config.generation.gpus_per_actor, config.training.gpus_per_worker


@pytest.mark.parametrize(
    ("there", "overrides", "gpus"),
    [
        (NONE, [], (0, 0)),
        (ONE, [], (1, 1)),
        (ONE, ["device=cpu"], (0, 0)),
        (ONE, ["device=cuda"], (1, 1)),
        (ONE, ["generation.gpus_per_actor=0"], (0, 1)),
        (ONE, ["generation.gpus_per_actor=0.5"], (0.5, 1)),
        (NONE, ["generation.gpus_per_actor=0", "training.gpus_per_worker=0"], (0, 0)),
        (ONE, ["training.workers=2", "training.gpus_per_worker=0.5"], (1, 0.5)),
        (MORE, ["training.workers=2"], (1, 1)),  # its nodes may come
    ],
)
def test_a_number_that_is_not_given_follows_the_device(
    tmp_path: Path, there: Gpus, overrides: list[str], gpus: tuple[float, float]
) -> None:
    assert resolved(tmp_path, there, *overrides) == gpus


@pytest.mark.parametrize(
    ("there", "overrides", "message"),
    [
        (NONE, ["device=cuda"], r"there is none(?s:.)*this machine has no GPU"),
        (NONE, ["training.gpus_per_worker=0.5"], r"there is none(?s:.)*gpus_per_worker"),
        (ONE, ["training.workers=2"], r"too few GPUs for 2 training workers(?s:.)*gpus_per_worker"),
        (ONE, ["device=cpu", "generation.gpus_per_actor=1"], "device is 'cpu', but generation.gpus.* is 1"),
        (ONE, ["device=cuda", "training.gpus_per_worker=0"], "device is 'cuda', but training.gpus.* is 0"),
        (ONE, ["device=gpu"], "device: expected `auto`, `cpu` or `cuda`, found 'gpu'"),
        (ONE, ["device=mps"], "found 'mps': `cuda` is any GPU of NVIDIA or AMD"),
        (ONE, ["device=cuda:1"], "CUDA_VISIBLE_DEVICES says which"),
        (ONE, ["device=0"], "device: Input should be 'auto', 'cpu' or 'cuda'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_an_error(tmp_path: Path, there: Gpus, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolved(tmp_path, there, *overrides)


def test_addresses_of_targets_and_students_do_not_depend_on_it(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path))
    digests = []
    for place in ("cpu", "cuda"):
        found = config.on(place)
        prepared = prepare(found)
        if not digests:
            make_targets(found, prepared, "denoised")
        digests.append((prepared.targets, student_job(found, prepared, found.students[0]).digest))
    assert digests[0] == digests[1]


AUTO = ["teacher.precision=auto", "students.0.precision=auto"]


@pytest.mark.parametrize(
    ("there", "overrides", "precisions", "words"),
    [
        (NONE, AUTO, ("float32", "float32"), "precision auto: float32 for the teacher, float32 for one"),
        (MORE, AUTO, ("bfloat16", "bfloat16"), "precision auto: bfloat16 for the teacher, bfloat16 for one"),
        (ONE, [*AUTO, "device=cpu"], ("float32", "float32"), "as asked; precision auto: float32 for the"),
        (ONE, [*AUTO, "generation.gpus_per_actor=0"], ("float32", "bfloat16"), "bfloat16 for one"),
        (ONE, AUTO[1:], ("float32", "bfloat16"), "precision auto: bfloat16 for one"),
        (ONE, [], ("float32", "float32"), "this machine has a GPU"),
    ],
)
def test_precision_auto_is_decided_with_the_device(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    there: Gpus,
    overrides: list[str],
    precisions: tuple[str, str],
    words: str,
) -> None:
    monkeypatch.setattr(device, "_gpus_of", lambda address: there)
    config, choice = on_its_device(load_config(write_config(tmp_path), overrides))
    assert (config.teacher.precision, config.students[0].precision) == precisions
    assert words in str(choice)
    assert ("precision" in str(choice)) == bool(overrides)


def test_on_a_cpu_auto_is_the_same_targets_and_students_as_float32(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    plain, auto = (load_config(path, overrides).on("cpu") for overrides in ([], AUTO))
    assert auto == plain
    assert load_config(path, AUTO).on("cuda").teacher.precision == "bfloat16"


def test_a_cache_is_verified_by_the_precision_that_its_spec_names(tmp_path: Path) -> None:
    fields = make_config(tmp_path)
    path = write_config(tmp_path, teacher=fields["teacher"] | {"precision": "auto"})
    config = load_config(path).on("cuda")
    store = TargetStore.open(Folder(config.cache_url), prepare(config).targets["denoised"])
    assert store.spec.precision == "bfloat16"
    found = verify_store(store, str(path), samples=0, seed=0)
    assert len(found.problems) == 3  # the shards are this config's, and none is committed


def test_a_plan_says_it_also_where_the_cluster_cannot_be_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_config(tmp_path)
    monkeypatch.setattr(device, "_gpus_of", lambda address: ONE)
    assert main(["plan", str(path)]) == 0
    assert capsys.readouterr().out.startswith("device: cuda (this machine has a GPU)\n")
    monkeypatch.undo()
    away = load_config(path, ["ray_address=127.0.0.1:9"])
    config, choice = planned_device(away)
    assert config.generation.gpus == 0
    assert "a run from here would end: There is no Ray cluster at 127.0.0.1:9" in choice.why
    with pytest.raises(ConfigError, match="no Ray cluster"):
        on_its_device(away)
    assert main(["plan", str(path), "--set", "device=gpu"]) == 2
