"""Trains the small CLIP that ships with phreg, on drawn scenes and their captions.

    python benchmarks/small_clip.py --output runs/small-clip

open_clip's own model class and loss; both towers are small enough for two CPU cores. Writes open_clip's
folder layout (`open_clip_config.json`, `open_clip_model.safetensors` in half precision), and
`training.json`, the record of the run: loss curve, retrieval and dense quality on held-out scenes. Equal
options and thread counts give equal weights on one kind of machine. `--steps 20 --scenes 500` tries it out.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import phreg  # noqa: F401  (before torchvision: see phreg/_torchvision.py)

# isort: split
import numpy as np
import open_clip
import torch
import torch.nn.functional as F  # noqa: N812
from open_clip.model import CLIP
from open_clip.transformer import PatchDropout
from safetensors.torch import save_file
from torch import Tensor

from phreg.demo.world.captions import caption
from phreg.demo.world.classes import CLASSES
from phreg.demo.world.clip_data import draw_scenes, pairs
from phreg.demo.world.scenes import SIZE, Scene, draw_scene
from phreg.device import device_here
from phreg.evaluate.scores import ConfusionMatrix
from phreg.method.denoising import denoise
from phreg.method.views import sample_views
from phreg.models import Backbone, load_backbone
from phreg.seeding import derive_rng

MODEL: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 64, "layers": 4, "width": 192, "head_width": 48, "patch_size": 8},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 2},
}
MEAN, STD = (0.45, 0.42, 0.42), (0.27, 0.24, 0.27)
WORLD, HELD_OUT_WORLD = 1, 2
"""Seeds of the scenes: no scene of one is a scene of the other, or of the demo's world 0."""
HELD_OUT, SEGMENTED = 200, 24
READ_OUTS = ("standard", "value", "naclip", "qq")


def main() -> None:
    options = _options()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    torch.backends.cuda.matmul.allow_tf32 = True
    output = Path(options.output)
    output.mkdir(parents=True, exist_ok=True)
    training = _Training(options, output)
    training.run()
    training.save()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", required=True)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--scenes", type=int, default=14000, help="drawn once, cut anew each time")
    parser.add_argument("--dropout", type=float, default=0.5, help="share of patches left out at first")
    parser.add_argument(
        "--whole", type=float, default=0.25, help="last share of steps, which see all patches"
    )
    parser.add_argument("--forget", type=float, default=0.7, help="share of class tokens that start anew")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--watch", type=int, default=150, help="steps between looks at held-out scenes")
    return parser.parse_args()


class _Training:
    """The model, its optimiser, and what was seen of it so far."""

    def __init__(self, options: argparse.Namespace, output: Path) -> None:
        self.options, self.output = options, output
        self.device = device_here()
        self.model = CLIP(**json.loads(json.dumps(MODEL))).to(self.device)
        self.tokenizer = open_clip.get_tokenizer(
            "ViT-B-32", context_length=MODEL["text_cfg"]["context_length"]
        )
        self.optimizer = _optimizer(self.model, options)
        self.held_out = [draw_scene(HELD_OUT_WORLD, i) for i in range(HELD_OUT)]
        self.curve: list[float] = []
        self.looks: list[dict[str, float]] = []
        blocks = self.model.visual.transformer.resblocks
        blocks[-1].register_forward_pre_hook(_Forgetful(self.model.visual, options.forget))

    def run(self) -> None:
        options, started = self.options, time.monotonic()
        scenes = draw_scenes(WORLD, 0, options.scenes, options.threads)
        batches = pairs(scenes, options.seed, options.batch, MODEL["vision_cfg"]["image_size"])
        for step in range(options.steps):
            whole = step >= options.steps * (1 - options.whole) or not options.dropout
            self.model.visual.patch_dropout = torch.nn.Identity() if whole else PatchDropout(options.dropout)
            for group in self.optimizer.param_groups:
                group["lr"] = options.learning_rate * _schedule(step, options.steps)
            self.curve.append(round(self._step(batches), 4))
            if (step + 1) % options.watch == 0 or step + 1 == options.steps:
                self.save()
                self._look(step + 1, round(time.monotonic() - started))

    def _step(self, batches: Iterator[tuple[Tensor, list[str]]]) -> float:
        images, texts = next(batches)
        self.model.train()
        with torch.autocast(self.device, torch.bfloat16):
            image, text, scale = self.model(self._normalized(images), self.tokenizer(texts).to(self.device))
        loss = open_clip.ClipLoss()(image.float(), text.float(), scale)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, math.log(100))  # as CLIP does
        return float(loss.item())

    def save(self) -> None:
        weights = {name: t.detach().half().contiguous().cpu() for name, t in self.model.state_dict().items()}
        save_file(weights, self.output / "open_clip_model.safetensors", metadata={"format": "pt"})
        size = [MODEL["vision_cfg"]["image_size"]] * 2
        config = {"model_cfg": MODEL, "preprocess_cfg": {"mean": MEAN, "std": STD, "size": size}}
        (self.output / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
        options = {name: value for name, value in vars(self.options).items() if name != "output"}
        record = {"options": options, "torch": torch.__version__, "looks": self.looks, "loss": self.curve}
        (self.output / "training.json").write_text(json.dumps(record) + "\n")

    @torch.no_grad()
    def _look(self, step: int, seconds: int) -> None:
        """Retrieval among held-out pairs, and how well patches know their class, of the weights saved."""
        self.model.eval()
        found: dict[str, float] = {
            "step": step,
            "seconds": seconds,
            "loss": float(np.mean(self.curve[-100:])),
        }
        found |= self._retrieval()
        names = torch.stack([F.normalize(self._texts(_prompts(c)).mean(0), dim=0) for c in CLASSES]).cpu()
        scenes = self.held_out[:SEGMENTED]
        for read_out in READ_OUTS:
            backbone = load_backbone(f"open_clip-dir:{self.output}", image_size=SIZE, read_out=read_out)
            batch = backbone.normalize(torch.from_numpy(np.stack([scene.image for scene in scenes])))
            features = torch.cat([backbone(part) for part in batch.split(8)])
            found[f"miou_{read_out}"] = _miou(features, names, scenes)
            if read_out == "value":
                found |= _cleanness(backbone, batch, features, names, scenes)
        self.looks.append({name: round(value, 4) for name, value in found.items()})
        print(json.dumps(self.looks[-1]), flush=True)

    def _retrieval(self) -> dict[str, float]:
        side = MODEL["vision_cfg"]["image_size"]
        rng = derive_rng(0, "look")
        pixels = torch.from_numpy(np.stack([s.image for s in self.held_out])).permute(0, 3, 1, 2).float()
        small = F.interpolate(pixels, size=(side, side), mode="bilinear", antialias=True)
        image = F.normalize(self.model.encode_image(self._normalized(small)).float(), dim=-1)
        text = self._texts([caption(rng, s.ground, s.things, s.instances) for s in self.held_out])
        similarity, own = (image @ text.T).cpu(), torch.arange(HELD_OUT)
        return {
            "image_to_text": (similarity.argmax(1) == own).float().mean().item(),
            "text_to_image": (similarity.argmax(0) == own).float().mean().item(),
        }

    def _texts(self, texts: list[str]) -> Tensor:
        return F.normalize(self.model.encode_text(self.tokenizer(texts).to(self.device)).float(), dim=-1)

    def _normalized(self, images: Tensor) -> Tensor:
        mean, std = (torch.tensor(s)[None, :, None, None] for s in (MEAN, STD))
        return ((images.float() / 255 - mean) / std).to(self.device)


class _Forgetful:
    """Before the last block, the class token of some images forgets what it gathered so far (in training).

    What they are about must then pass through the last block's values, which is where dense read-outs look.
    Without it the class token gathers some colours in the first blocks already, and `value` never sees them.
    """

    def __init__(self, visual: Any, share: float) -> None:
        self.visual, self.share = visual, share

    def __call__(self, block: torch.nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        visual, x = self.visual, arguments[0]  # [B, N, D]
        if not visual.training:
            return None
        token = (visual.class_embedding + visual.positional_embedding[0]).to(x.dtype)
        forgets = (torch.rand(len(x), 1, 1) < self.share).to(x.device)
        first = torch.where(forgets, visual.ln_pre(token).to(x.dtype), x[:, :1])
        return (torch.cat([first, x[:, 1:]], 1), *arguments[1:])


def _optimizer(model: torch.nn.Module, options: argparse.Namespace) -> torch.optim.AdamW:
    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": options.weight_decay},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=options.learning_rate, betas=(0.9, 0.98), fused=True)


def _schedule(step: int, steps: int, warm_up: int = 200) -> float:
    return min(1.0, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * step / steps))


def _prompts(names: tuple[str, ...]) -> list[str]:
    return [f"a photo of a {name}" for name in names]


def _miou(features: Tensor, names: Tensor, scenes: list[Scene]) -> float:
    logits = torch.einsum("bchw,kc->bkhw", F.normalize(features, dim=1), names)
    guess = F.interpolate(logits, size=(SIZE, SIZE), mode="bilinear").argmax(1).numpy()
    matrix = ConfusionMatrix(len(CLASSES))
    for scene, predicted in zip(scenes, guess, strict=True):
        matrix.add(predicted, scene.labels)
    return matrix.mean_iou


def _cleanness(
    backbone: Backbone, batch: Tensor, features: Tensor, names: Tensor, scenes: list[Scene]
) -> dict[str, float]:
    """How near features are to their average over ten views, and what that average is worth."""
    views = sample_views(backbone.grid_of(batch), seed=0)
    averaged = torch.cat([denoise(backbone, part, views) for part in batch.split(8)])
    cosine = F.cosine_similarity(features, averaged, dim=1).flatten()
    low, middle = cosine.quantile(torch.tensor([0.01, 0.5])).tolist()
    return {"miou_denoised": _miou(averaged, names, scenes), "cosine_p1": low, "cosine_p50": middle}


if __name__ == "__main__":
    main()
