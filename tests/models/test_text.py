import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import safetensors.torch
import torch

from phreg.errors import CheckpointError, ModelError
from phreg.models.text import load_text
from tests.helpers import save_tiny_open_clip

TEXTS = ["a photo of a red circle.", "Sky", "", "a very long text " * 40]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "clip"
    save_tiny_open_clip(path)
    return path


def changed(clip: Path, folder: Path, **values: Any) -> str:
    """A copy of the directory with other values in its text_cfg."""
    config = json.loads((clip / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"].update(values)
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    (folder / "open_clip_model.safetensors").write_bytes((clip / "open_clip_model.safetensors").read_bytes())
    return f"open_clip-dir:{folder}"


def test_is_what_open_clip_computes(clip: Path) -> None:
    stock = open_clip.create_model(f"local-dir:{clip}").eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{clip}")
    features = load_text(f"open_clip-dir:{clip}")(TEXTS)
    with torch.no_grad():
        expected = stock.encode_text(tokenizer(TEXTS), normalize=True)
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-5)
    assert features.dtype == torch.float32
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(len(TEXTS)))
    assert not features.requires_grad


def test_batches_change_nothing(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = load_text(f"open_clip-dir:{clip}")
    whole = text(TEXTS)
    monkeypatch.setattr("phreg.models.text.TEXTS_PER_FORWARD", 3)
    torch.testing.assert_close(text(TEXTS), whole, rtol=0, atol=1e-6)
    assert text([]).shape == (0, text.out_dim) == (0, 16)


def test_identity(clip: Path, tmp_path: Path) -> None:
    digest = load_text(f"open_clip-dir:{clip}").digest
    assert load_text(f"open_clip-dir:{clip}").digest == digest
    (tmp_path / "other").mkdir()
    other_cleaning = changed(clip, tmp_path / "other", tokenizer_kwargs={"clean": "canonicalize"})
    assert load_text(other_cleaning).digest != digest
    assert load_text(save_tiny_open_clip(tmp_path / "seed", seed=1)).digest != digest


def test_image_weights_are_no_part_of_it(clip: Path, tmp_path: Path) -> None:
    state = safetensors.torch.load_file(clip / "open_clip_model.safetensors")
    changed_state = {k: v + 1 if k.startswith("visual.") else v for k, v in state.items()}
    safetensors.torch.save_file(changed_state, tmp_path / "other.safetensors")
    text = load_text(f"open_clip-dir:{clip}", checkpoint=str(tmp_path / "other.safetensors"))
    assert text.digest == load_text(f"open_clip-dir:{clip}").digest
    assert not any("visual" in name for name, _ in text.named_parameters())


def test_by_name_with_a_checkpoint(clip: Path, tmp_path: Path) -> None:
    config = json.loads((clip / "open_clip_config.json").read_text())["model_cfg"]
    (tmp_path / "phreg-text-test.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "phreg-text-test.json")
    torch.save(
        {"state_dict": safetensors.torch.load_file(clip / "open_clip_model.safetensors")}, tmp_path / "c.pt"
    )
    named = load_text("open_clip/phreg-text-test", checkpoint=str(tmp_path / "c.pt"))
    torch.testing.assert_close(named(TEXTS), load_text(f"open_clip-dir:{clip}")(TEXTS), rtol=0, atol=1e-6)


def test_custom_text_class(clip: Path, tmp_path: Path) -> None:
    """open_clip's other class holds the same tower under other names; it reads both kinds of weights."""
    model = save_tiny_open_clip(tmp_path / "custom", custom_text=True)
    stock = open_clip.create_model(f"local-dir:{tmp_path / 'custom'}").eval()
    assert isinstance(stock, open_clip.CustomTextCLIP)
    before = load_text(model)(TEXTS)
    weights = {name: tensor.contiguous() for name, tensor in stock.state_dict().items()}
    safetensors.torch.save_file(weights, tmp_path / "custom/open_clip_model.safetensors")
    torch.testing.assert_close(load_text(model)(TEXTS), before, rtol=0, atol=1e-6)
    torch.testing.assert_close(load_text(f"open_clip-dir:{clip}")(TEXTS), before, rtol=0, atol=1e-6)


@pytest.mark.parametrize("model", ["timm/vit_tiny_patch16_224", "local-dir:/somewhere", "ViT-B-32"])
def test_models_without_text(model: str) -> None:
    with pytest.raises(ModelError, match="as the text model"):
        load_text(model)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"hf_tokenizer_name": "somebody/tokenizer"}, ModelError, "not open_clip's own"),
        ({"tokenizer_kwargs": {"bpe_path": "/etc/passwd"}}, ModelError, "not open_clip's own"),
        ({"tokenizer_kwargs": {"clean": "rm"}}, ModelError, "Cannot build the tokenizer"),
        ({"hf_model_name": "somebody/model"}, ModelError, "not open_clip's own"),
        ({"width": 64}, CheckpointError, "do not fit the text tower"),
        ({"layers": 200}, CheckpointError, "do not fit the text tower"),
        ({"width": 16384, "vocab_size": 1 << 20}, CheckpointError, "do not fit the text tower"),
        ({"heads": 5}, ModelError, "Cannot build the text tower"),
        ({"norm_kwargs": {"no": 1}}, ModelError, "Cannot build the text tower"),
    ],
)
def test_hostile_or_mistaken_configs(
    clip: Path, tmp_path: Path, values: dict, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        load_text(changed(clip, tmp_path, **values))


def test_a_vocabulary_smaller_than_the_tokenizers(tmp_path: Path) -> None:
    text_config = {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1}
    model = save_tiny_open_clip(tmp_path / "clip", text_cfg=text_config)
    with pytest.raises(ModelError, match="its vocab_size, 64"):
        load_text(model)(["sky"])
