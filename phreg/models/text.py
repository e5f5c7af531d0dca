"""Text towers: CLIP's text side, as open_clip builds and tokenizes it."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import open_clip
import torch
from jaxtyping import Float
from torch import Tensor, nn

from phreg.errors import CheckpointError, ModelError
from phreg.fingerprint import digest_json, digest_weights
from phreg.models.checkpoint_parts import text_part
from phreg.models.clip_details import OPENAI_ENTRIES, is_openai, wants_quick_gelu
from phreg.models.clip_directory import is_clip_directory, read_clip_directory
from phreg.models.clip_tower import downloaded, downloaded_weights, open_clip_model
from phreg.models.precision import keep_float32
from phreg.models.weight_files import check_values, read_checkpoint
from phreg.progress import tell

TEXTS_PER_FORWARD = 256
_NO_IMAGES = {"layers": 1, "width": 64, "image_size": 32, "patch_size": 32}  # a tower that is dropped at once
_NOT_TEXT = ("visual.", "logit_scale", "logit_bias")
_NO_WEIGHTS = ("attn_mask", *OPENAI_ENTRIES)
_TOKENIZER_OPTIONS = {"clean", "reduction_mask"}  # the others name files

Tokenizer = Callable[[list[str]], Tensor]


class TextTower(nn.Module):
    """Maps n texts to unit-norm features [n, C] in float32, frozen, some hundred texts per forward pass.

    Attributes: `digest` identity of weights, tokenizer and config; `out_dim` C.
    """

    def __init__(self, clip: nn.Module, tokenizer: Tokenizer, out_dim: int, identity: Any) -> None:
        super().__init__()
        self.clip = clip.float().eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.out_dim = out_dim
        self.digest = digest_json({"weights": digest_weights(clip.state_dict()), "config": identity})

    @torch.no_grad()
    def forward(self, texts: Sequence[str]) -> Float[Tensor, "n C"]:
        """Raises `ModelError` if the tokenizer gives a token that the tower does not know."""
        parts = [
            self._encode(list(texts[i : i + TEXTS_PER_FORWARD]))
            for i in range(0, len(texts), TEXTS_PER_FORWARD)
        ]
        return torch.cat(parts) if parts else torch.zeros(0, self.out_dim)

    def _encode(self, texts: list[str]) -> Float[Tensor, "n C"]:
        tokens = self.tokenizer(texts)
        clip: Any = self.clip
        if tokens.max() >= clip.vocab_size:
            raise ModelError(
                "The text tower does not know all tokens of its tokenizer",
                expected=f"tokens below its vocab_size, {clip.vocab_size}",
                found=f"token {int(tokens.max())} in {texts[int(tokens.amax(1).argmax())]!r}",
            )
        device = next(self.clip.parameters()).device
        keep_float32(device)
        features: Tensor = clip.encode_text(tokens.to(device), normalize=True)
        return features


def load_text(model: str, checkpoint: str | None = None) -> TextTower:
    """The text tower of a CLIP, in float32 and eval mode.

    Args:
        model: `open_clip/NAME[:TAG]`, `open_clip-dir:PATH` or `phreg/small-clip`.
        checkpoint: fsspec URL of the whole CLIP's weights, in open_clip's or OpenAI's naming.

    Raises `ModelError` for another model, or one whose text tower or tokenizer is not open_clip's own;
    `CheckpointError` for weights that do not fit.
    """
    tell(f"loading the text tower of {model}")
    config, state, source = read_clip(model, checkpoint)
    if is_clip_directory(model):
        tokenizer = _own_tokenizer(config["text_cfg"], model)
    else:
        name = model.removeprefix("open_clip/").partition(":")[0]
        tokenizer = downloaded(lambda: open_clip.get_tokenizer(name), f"the tokenizer of {model}")
    return _tower(config, state, tokenizer, source)


def read_clip(model: str, checkpoint: str | None) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Of a CLIP with a text tower of open_clip's own: its config (`model_cfg`, with the GELU that its weights
    want), its weights as they are stored, and where they are from. Raises as `load_text`."""
    if is_clip_directory(model):
        clip = read_clip_directory(model)
        source = checkpoint or clip.source
        state = text_part(read_checkpoint(checkpoint) if checkpoint else clip.weights(), source)
        return clip.config | {"quick_gelu": clip.config["quick_gelu"] or is_openai(state)}, state, source
    if not model.startswith("open_clip/"):
        raise ModelError(
            f"The model {model!r} has no text tower",
            expected="open_clip/NAME[:TAG], open_clip-dir:PATH or phreg/small-clip",
            remedy="give the CLIP that its features belong to as the text model",
        )
    name, tag, config, details = open_clip_model(model.removeprefix("open_clip/"), checkpoint)
    _check_own_tower(config, model)
    state = (
        text_part(read_checkpoint(checkpoint), checkpoint) if checkpoint else downloaded_weights(name, tag)
    )
    config["quick_gelu"] = wants_quick_gelu(name, tag, config, details, state)
    return config, state, checkpoint or model


def _own_tokenizer(text_config: Mapping[str, Any], source: str) -> Tokenizer:
    """What `open_clip.get_tokenizer` makes of such a config, but for what would read other files."""
    options = text_config.get("tokenizer_kwargs") or {}
    if text_config.get("hf_tokenizer_name") or not options.keys() <= _TOKENIZER_OPTIONS:
        raise ModelError(
            f"The tokenizer of {source} is not open_clip's own",
            expected="no hf_tokenizer_name, and of tokenizer_kwargs clean and reduction_mask alone",
        )
    try:
        return open_clip.SimpleTokenizer(context_length=text_config["context_length"], **options)
    except (AssertionError, TypeError, ValueError) as error:
        raise ModelError(f"Cannot build the tokenizer of {source}", found=str(error)[:200]) from None


def _check_own_tower(config: Mapping[str, Any], source: str) -> None:
    if config["text_cfg"].get("hf_model_name") or "multimodal_cfg" in config:
        raise ModelError(
            f"The text tower of {source} is not open_clip's own", "a CLIP text transformer", "another class"
        )


def _tower(
    config: Mapping[str, Any], state: Mapping[str, Any], tokenizer: Tokenizer, source: str
) -> TextTower:
    _check_own_tower(config, source)
    kept = {key: value for key, value in config.items() if key not in ("custom_text", "vision_cfg")}
    kind = open_clip.CustomTextCLIP if config.get("custom_text") else open_clip.CLIP
    weights = _text_weights(state, custom=kind is open_clip.CustomTextCLIP)
    with torch.device("meta"):  # nothing large is made before the weights are seen to fit
        _check_fits(_build(kind, kept, source), weights, source)
    check_values(weights, source)
    clip = _build(kind, kept, source)
    clip.load_state_dict(weights, strict=False)
    return TextTower(
        clip, tokenizer, int(config["embed_dim"]), {k: v for k, v in kept.items() if v is not None}
    )


def _build(kind: Any, config: Mapping[str, Any], source: str) -> nn.Module:
    try:
        clip: nn.Module = kind(**copy.deepcopy(dict(config)), vision_cfg=_NO_IMAGES)
    except Exception as error:  # a config that somebody else wrote can go wrong in many ways
        raise ModelError(
            f"Cannot build the text tower of {source}",
            expected="a text_cfg that open_clip can build",
            found=f"{type(error).__name__}: {str(error)[:200]}",
        ) from None
    del clip.visual
    return clip


def _text_weights(state: Mapping[str, Any], custom: bool) -> dict[str, Tensor]:
    named = dict(state)
    if custom and "positional_embedding" in named:
        named = open_clip.model.convert_to_custom_text_state_dict(named)
    return {
        key: value
        for key, value in named.items()
        if isinstance(value, Tensor) and not key.startswith(_NOT_TEXT) and key not in _NO_WEIGHTS
    }


def _check_fits(clip: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    expected = {k: tuple(v.shape) for k, v in clip.state_dict().items() if not k.startswith(_NOT_TEXT)}
    found = {key: tuple(value.shape) for key, value in weights.items()}
    wrong = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
    if wrong:
        raise CheckpointError(
            f"The weights at {source} do not fit the text tower",
            expected=f"{wrong[0]} {expected.get(wrong[0], 'not there')}",
            found=f"{found.get(wrong[0], 'nothing')}, and {len(wrong) - 1} more that differ",
            remedy="name the model that these weights were made for",
        )
