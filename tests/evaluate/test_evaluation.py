"""Stored evaluations: found again for the same model and benchmark, and for nothing else."""

import json
import pickle
from pathlib import Path

import pytest
import torch

from phreg.cache import TargetStore
from phreg.config.run import EvaluationConfig
from phreg.errors import MissingTargetsError
from phreg.evaluate import Evaluation, evaluate_model, measure
from phreg.evaluate import held_out as read_held_out
from phreg.models import Backbone, add_registers
from phreg.storage import Folder
from phreg.storage.checksummed import from_checksummed_json
from tests.evaluate.world import add_shard, make_backbone, make_store

CONFIG = EvaluationConfig(images=3, shifts=3, max_shift=0.3)


@pytest.fixture
def backbone() -> Backbone:
    return make_backbone()


@pytest.fixture
def world(tmp_path: Path, backbone: Backbone) -> tuple[TargetStore, list[str], Folder]:
    store = make_store(tmp_path, backbone)
    urls = [add_shard(tmp_path, store, backbone, index, 2) for index in range(2)]
    return store, urls, Folder(str(tmp_path / "evaluations"))


World = tuple[TargetStore, list[str], Folder]


def test_it_is_what_measuring_gives(world: World, backbone: Backbone) -> None:
    store, urls, folder = world
    found = evaluate_model(backbone, store, urls, CONFIG, seed=5, folder=folder)
    crops = read_held_out(store, urls, 3)
    assert found.metrics == measure(backbone, crops, shifts=3, max_shift=0.3, seed=5)
    assert found.images == 3
    assert found.forward_passes == 3 * (1 + 3)
    assert not found.reused
    assert found.metrics["target_cosine_p50"] > 0.9, "the targets are the model's own features, denoised"
    assert pickle.loads(pickle.dumps(found)) == found
    assert Evaluation.model_validate(from_checksummed_json(folder.read(f"{found.digest}.json"))) == found
    assert evaluate_model(backbone, store, urls, CONFIG, seed=5).metrics == found.metrics, "no folder needed"


def test_a_second_time_it_is_reused_without_reading_an_image(world: World, backbone: Backbone) -> None:
    store, urls, folder = world
    first = evaluate_model(backbone, store, urls, CONFIG, folder=folder)
    for url in urls:
        Path(url).unlink()
    again = evaluate_model(backbone, store, urls, CONFIG, folder=folder)
    assert again == first.model_copy(update={"reused": True, "forward_passes": 0, "seconds": 0.0})


def test_another_model_is_measured_on_the_same_benchmark(world: World, backbone: Backbone) -> None:
    store, urls, folder = world
    first = evaluate_model(backbone, store, urls, CONFIG, folder=folder)
    value = add_registers(backbone, 2, read_out="value")
    for other in (add_registers(backbone, 2), value, make_backbone(seed=1)):
        found = evaluate_model(other, store, urls, CONFIG, folder=folder)
        assert not found.reused
        assert found.digest != first.digest
        assert found.benchmark == first.benchmark
        assert found.metrics != first.metrics


def test_one_changed_weight_is_another_model(world: World, backbone: Backbone) -> None:
    store, urls, folder = world
    student = add_registers(backbone, 2)
    first = evaluate_model(student, store, urls, CONFIG, folder=folder)
    with torch.no_grad():
        student.vit.reg_token[0, 0, 0] += 1
    assert not evaluate_model(student, store, urls, CONFIG, folder=folder).reused
    assert evaluate_model(student, store, urls, CONFIG, folder=folder).digest != first.digest


@pytest.mark.parametrize(
    "changes", [{"images": 2}, {"shifts": 2}, {"max_shift": 0.5}, {"seed": 1}, {"urls": 1}]
)
def test_another_setting_is_another_benchmark(world: World, backbone: Backbone, changes: dict) -> None:
    store, urls, folder = world
    first = evaluate_model(backbone, store, urls, CONFIG, folder=folder)
    seed = changes.pop("seed", 0)
    fewer = urls[: changes.pop("urls", 2)]
    config = CONFIG.model_copy(update=changes)
    found = evaluate_model(backbone, store, fewer, config, seed=seed, folder=folder)
    assert not found.reused
    assert found.benchmark != first.benchmark


@pytest.mark.parametrize("changes", [{"figures": 0}, {"targets": "denoised"}])
def test_settings_that_change_no_number_do_not_matter(
    world: World, backbone: Backbone, changes: dict
) -> None:
    store, urls, folder = world
    evaluate_model(backbone, store, urls, CONFIG, folder=folder)
    assert evaluate_model(backbone, store, urls, CONFIG.model_copy(update=changes), folder=folder).reused


def test_asking_for_more_images_than_there_are_is_the_same_benchmark(
    world: World, backbone: Backbone
) -> None:
    store, urls, folder = world
    for count, reused in ((4, False), (5, True), (400, True)):
        config = CONFIG.model_copy(update={"images": count})
        found = evaluate_model(backbone, store, urls, config, folder=folder)
        assert (found.images, found.reused) == (4, reused)


@pytest.mark.parametrize("damage", ["{", "null", '{"metrics": {}}', "digest"])
def test_a_damaged_evaluation_is_made_again(world: World, backbone: Backbone, damage: str) -> None:
    store, urls, folder = world
    first = evaluate_model(backbone, store, urls, CONFIG, folder=folder)
    path = f"{first.digest}.json"
    if damage == "digest":
        damage = json.dumps(json.loads(folder.read(path)) | {"digest": "0" * 64})
    folder.write(path, damage.encode())
    again = evaluate_model(backbone, store, urls, CONFIG, folder=folder)
    assert not again.reused
    assert again.metrics == first.metrics
    assert evaluate_model(backbone, store, urls, CONFIG, folder=folder).reused


def test_missing_targets_are_named(world: World, backbone: Backbone, tmp_path: Path) -> None:
    store, _, folder = world
    with pytest.raises(MissingTargetsError, match="nowhere"):
        evaluate_model(backbone, store, [str(tmp_path / "nowhere.tar")], CONFIG, folder=folder)
