"""What a student keeps of its teacher's class token."""

from pathlib import Path

import numpy as np
import pytest
import torch

from phreg.cache import TargetStore
from phreg.config.run import EvaluationConfig
from phreg.evaluate import evaluate_model
from phreg.evaluate.class_tokens import FEWEST, NEIGHBOURS, class_token_metrics, class_tokens
from phreg.models import Backbone, add_registers, load_backbone
from phreg.storage import Folder
from phreg.types import KEPT_FROM_TEACHER
from tests.evaluate.world import SIZE, add_shard, make_backbone, make_store
from tests.helpers import make_image, tiny_clip, tiny_dinov2

CONFIG = EvaluationConfig(images=3, shifts=3, max_shift=0.3)


def crops(images: int) -> np.ndarray:
    return np.stack([np.array(make_image(i, 64, 64)) for i in range(images)])


@pytest.mark.parametrize("read_out", ["standard", "value", "naclip"])
def test_it_is_timm_s_own_whatever_the_read_out(read_out: str) -> None:
    vit = tiny_clip()
    found = class_tokens(load_backbone(vit, read_out=read_out), crops(2))
    images = load_backbone(vit).normalize(torch.from_numpy(crops(2)))
    torch.testing.assert_close(found, vit.eval()(images), rtol=0, atol=1e-5)


def test_one_s_own_tokens_are_kept_in_full_and_others_are_not() -> None:
    tokens = torch.randn(40, 16, generator=torch.Generator().manual_seed(0))
    other = torch.randn(40, 16, generator=torch.Generator().manual_seed(1))
    same = class_token_metrics(3 * tokens, tokens)
    assert same == pytest.approx(dict.fromkeys(KEPT_FROM_TEACHER, 1.0))
    strange = class_token_metrics(other, tokens)
    assert abs(strange["class_token_cosine"]) < 0.2
    assert strange["class_token_neighbours"] == pytest.approx(NEIGHBOURS / 39, abs=0.1), "chance"
    opposite = class_token_metrics(-tokens, tokens)
    assert opposite["class_token_cosine"] == pytest.approx(-1)
    assert opposite["class_token_neighbours"] == 1


def test_neighbours_are_not_counted_among_few_images() -> None:
    tokens = torch.randn(FEWEST, 16)
    assert set(class_token_metrics(tokens, tokens)) == set(KEPT_FROM_TEACHER)
    assert set(class_token_metrics(tokens[1:], tokens[1:])) == {"class_token_cosine"}


@pytest.fixture
def teacher() -> Backbone:
    return make_backbone()


@pytest.fixture
def world(tmp_path: Path, teacher: Backbone) -> tuple[TargetStore, list[str], Folder]:
    store = make_store(tmp_path, teacher)
    urls = [add_shard(tmp_path, store, teacher, index, 2) for index in range(2)]
    return store, urls, Folder(str(tmp_path / "evaluations"))


def test_students_are_held_beside_the_teacher_that_is_loaded_once(
    world: tuple[TargetStore, list[str], Folder], teacher: Backbone
) -> None:
    store, urls, folder = world
    loaded = []

    def load() -> Backbone:
        loaded.append(1)
        return teacher

    own = evaluate_model(teacher, store, urls, CONFIG, folder=folder, teacher=load)
    assert own.metrics["class_token_cosine"] == pytest.approx(1)
    assert own.forward_passes == 3 * (1 + 3 + 1)
    student = add_registers(teacher, 4)
    with torch.no_grad():
        student.vit.blocks[-1].mlp.fc2.weight.mul_(-1)
    found = evaluate_model(student, store, urls, CONFIG, folder=folder, teacher=load)
    assert found.metrics["class_token_cosine"] < 0.99
    assert len(loaded) == 1
    again = evaluate_model(student, store, urls, CONFIG, folder=folder, teacher=load)
    assert again.reused
    assert again.metrics == found.metrics
    alone = evaluate_model(student, store, urls, CONFIG, folder=folder)
    assert set(found.metrics) - set(alone.metrics) == {"class_token_cosine"}


def test_a_network_without_a_class_token_has_none_to_keep(tmp_path: Path) -> None:
    network = load_backbone(tiny_dinov2(SIZE, class_token=False, global_pool="avg"))
    assert not network.has_class_token
    store = make_store(tmp_path, network)
    urls = [add_shard(tmp_path, store, network, 0, 2)]
    found = evaluate_model(network, store, urls, CONFIG, teacher=lambda: pytest.fail("loaded"))
    assert not set(found.metrics) & set(KEPT_FROM_TEACHER)
