from pathlib import Path

import open_clip
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F

from phreg.errors import ConfigError
from phreg.evaluate.segment import class_embeddings
from phreg.evaluate.segment.class_names import TEMPLATES
from phreg.models.text import TextTower, load_text
from phreg.storage import Folder
from tests.helpers import save_tiny_open_clip

CLASSES = (("sky", "clouds"), ("red circle",), ("wall", "brick wall", "door"))


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> TextTower:
    return load_text(save_tiny_open_clip(tmp_path_factory.mktemp("models") / "clip"))


def test_a_unit_vector_for_every_name(text: TextTower) -> None:
    embeddings, owner = class_embeddings(text, CLASSES)
    assert embeddings.shape == (6, 16)
    assert owner.tolist() == [0, 0, 1, 2, 2, 2]
    torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(6))


def test_mean_of_unit_features_over_the_80_templates(text: TextTower) -> None:
    assert len(TEMPLATES) == len(open_clip.OPENAI_IMAGENET_TEMPLATES) == 80
    features = text([template("clouds") for template in open_clip.OPENAI_IMAGENET_TEMPLATES])
    expected = F.normalize(features.mean(0), dim=0)
    torch.testing.assert_close(class_embeddings(text, CLASSES).embeddings[1], expected, rtol=0, atol=1e-6)


def test_one_template_is_the_text_itself(text: TextTower) -> None:
    found = class_embeddings(text, [("sky",)], templates=[lambda name: f"a {name}!"]).embeddings
    torch.testing.assert_close(found, text(["a sky!"]))


def test_a_name_does_not_depend_on_the_others(text: TextTower) -> None:
    many = [(f"name {i}",) for i in range(70)]
    alone = class_embeddings(text, [many[65]], templates=TEMPLATES[:3])
    together = class_embeddings(text, many, templates=TEMPLATES[:3])
    torch.testing.assert_close(together.embeddings[65:66], alone.embeddings, rtol=0, atol=1e-6)


def test_kept_between_runs(text: TextTower, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(str(tmp_path))
    first = class_embeddings(text, CLASSES, folder=folder)
    monkeypatch.setattr(TextTower, "forward", lambda *_: pytest.fail("embedded again"))
    again = class_embeddings(text, CLASSES, folder=folder)
    assert torch.equal(again.embeddings, first.embeddings)
    assert torch.equal(again.owner, first.owner)


def test_kept_apart_by_everything_they_depend_on(text: TextTower, tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "cache"))
    other_text = load_text(save_tiny_open_clip(tmp_path / "other", seed=1))
    for arguments in (
        (text, CLASSES, TEMPLATES[:2]),
        (text, CLASSES, TEMPLATES[:3]),
        (text, CLASSES[:2], TEMPLATES[:2]),
        (other_text, CLASSES, TEMPLATES[:2]),
    ):
        torch.testing.assert_close(
            class_embeddings(*arguments, folder=folder).embeddings, class_embeddings(*arguments).embeddings
        )
    assert len(folder.list()) == 4


def test_grouping_alone_shares_the_embeddings(text: TextTower, tmp_path: Path) -> None:
    """Owners are no part of what is stored: the same names in other classes are the same vectors."""
    folder = Folder(str(tmp_path))
    class_embeddings(text, [("sky", "wall")], TEMPLATES[:2], folder)
    assert class_embeddings(text, [("sky",), ("wall",)], TEMPLATES[:2], folder).owner.tolist() == [0, 1]
    assert len(folder.list()) == 1


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"rubbish",
        safetensors.torch.save({"embeddings": torch.zeros(6, 16)}),
        safetensors.torch.save({"embeddings": torch.full((6, 16), float("nan"))}),
        safetensors.torch.save({"embeddings": torch.ones(6, 1)}),
        safetensors.torch.save({"embeddings": torch.full((6, 16), 0.25, dtype=torch.float16)}),
        safetensors.torch.save({"other": torch.zeros(1)}),
    ],
)
def test_a_damaged_entry_is_made_anew(text: TextTower, tmp_path: Path, damage: bytes) -> None:
    folder = Folder(str(tmp_path))
    sound = class_embeddings(text, CLASSES, TEMPLATES[:2], folder).embeddings
    (stored,) = folder.list()
    whole = folder.read(stored.path)
    folder.write(stored.path, damage)
    assert torch.equal(class_embeddings(text, CLASSES, TEMPLATES[:2], folder).embeddings, sound)
    assert folder.read(stored.path) == whole


@pytest.mark.parametrize("classes", [[], [("sky",), ()], [("sky", " ")], ["sky"]])
def test_classes_without_a_name(text: TextTower, classes: list) -> None:
    with pytest.raises(ConfigError, match=r"nothing to embed|cannot be named"):
        class_embeddings(text, classes)
