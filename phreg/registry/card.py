"""The model card: what the student is, how it was made, how good it is, and how to load it."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from phreg.config.run import StudentConfig, TargetConfig, TeacherConfig
from phreg.registry.lineage import without_secrets
from phreg.report.markdown import markdown_table
from phreg.types import HIGHER_IS_BETTER

PAPER = "Vision Transformers with Self-Distilled Registers (NeurIPS 2025)"
PAPER_URL = "https://arxiv.org/abs/2505.21501"
_MEANINGS = {
    "artifact_rate": "share of artifact patches, by their norms before the final norm, where they are most",
    "norm_ratio": "largest norm over the image's median before the final norm, where it is most",
    "outlier_rate": "share of artifact patches after the final norm",
    "shift_cosine_mean": "cosine between features of the same content under patch shifts, mean",
    "shift_cosine_p5": "the same, 5th percentile",
    "target_cosine_p1": "cosine to the denoised target, 1st percentile",
    "target_cosine_p5": "the same, 5th percentile",
    "target_cosine_p50": "the same, median",
    "class_token_cosine": "cosine between the class token and the teacher's, mean",
    "class_token_neighbours": "of each image's five nearest by that, the share that are so still",
}


def model_card(
    *,
    model: str,
    student: StudentConfig,
    teacher: TeacherConfig,
    targets: TargetConfig,
    steps: int,
    skipped_steps: int = 0,
    images: int,
    metrics: Mapping[str, float],
    teacher_metrics: Mapping[str, float],
    snippet: str,
    connector: str = "",
    lineage: Mapping[str, Any],
    figures: Sequence[str] = (),
    pos_embed_resize: str = "paper",
) -> str:
    """`README.md` of a registered student: Markdown with YAML front matter, as model hubs read it.

    `connector` are lines that go on from `snippet`, for a student of another network than its teacher.
    `snippet` is Python that loads the folder with stock timm (`phreg.models.timm_snippet(student, ".")`);
    `images` is how many held-out images the metrics are of; `figures` are paths within the entry;
    `pos_embed_resize` is how positions came to the size that the student was trained with.
    """
    sections = [
        _front_matter(),
        f"# {model}: {student.name}",
        f"A ViT whose dense features were cleaned with {student.registers or 'no'} self-distilled registers, "
        f"after [{PAPER}]({PAPER_URL}).",
        "## Load it",
        "Stock timm is all it needs. `images` are normalised with the `mean` and `std` of `config.json`, "
        "`[B, 3, H, W]`; the features are `[B, patches, channels]`, row by row. Run it in this folder, or "
        "put the folder's path in place of the `.`:",
        f"```python\n{snippet}\n```",
        connector
        and "These are the student's own features. The connector, a linear map that was trained with it, "
        f"takes them to the teacher's where those are wanted:\n\n```python\n{connector}\n```",
        "## How it was made",
        _making(student, teacher, targets, steps, skipped_steps, pos_embed_resize),
        "## How good it is",
        f"Measured without labels on {images} held-out images; better is ↑ higher or ↓ lower.",
        _metrics_table(metrics, teacher_metrics),
        *[f"![{_figure_title(path)}]({path})" for path in figures],
        "## Lineage",
        _lineage_table(lineage),
        "The weights derive from the teacher's, whose licence applies.",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _front_matter() -> str:
    fields = {
        "library_name": "timm",
        "pipeline_tag": "image-feature-extraction",
        "tags": ["timm", "image-feature-extraction", "vit", "registers", "phreg", "arxiv:2505.21501"],
    }
    return f"---\n{yaml.safe_dump(fields, sort_keys=False).strip()}\n---"


def _making(
    student: StudentConfig,
    teacher: TeacherConfig,
    targets: TargetConfig,
    steps: int,
    skipped_steps: int,
    pos_embed_resize: str,
) -> str:
    own = {} if student.model is None else {"started from": _code(student.model)}
    rows = own | {
        "teacher": _code(teacher.model),
        "teacher's read-out": _code(teacher.read_out),
        "block": "the last" if teacher.block is None else str(teacher.block),
        "positions resampled as": f"{_code(pos_embed_resize)}; stock timm resamples them antialiased",
        "targets": f"`{student.targets}`: the teacher's {targets.denoiser.in_words}, "
        f"stored as {targets.encoding}",
        "registers": str(student.registers or "none"),
        "unlocked": ", ".join(_code(name) for name in student.unlock),
        "steps": f"{steps}, of {student.batch_size} crops per worker"
        + (f"; {skipped_steps} of them left out, for want of a finite loss" if skipped_steps else ""),
        "loss": "(1 - cosine) + mean squared error, per patch"
        + (", weighed by how sure the targets are" if student.weigh_by_certainty else ""),
        "optimiser": f"AdamW, learning rate {student.learning_rate:g} decaying to "
        f"{student.final_learning_rate:g}, weight decay {student.weight_decay:g}",
        "precision": student.precision,
        "seed": str(student.seed),
    }
    return markdown_table(("", ""), list(rows.items()))


def _metrics_table(metrics: Mapping[str, float], teacher_metrics: Mapping[str, float]) -> str:
    names = [name for name in HIGHER_IS_BETTER if name in metrics or name in teacher_metrics]
    rows = [
        (
            f"`{name}` {'↑' if HIGHER_IS_BETTER[name] else '↓'}",
            _number(teacher_metrics.get(name)),
            _number(metrics.get(name)),
            _MEANINGS[name],
        )
        for name in names
    ]
    return markdown_table(("measure", "teacher", "student", "meaning"), rows)


def _lineage_table(lineage: Mapping[str, Any]) -> str:
    git = lineage.get("git")
    rows = [("student", _code(lineage["student_digest"]))]
    rows += [(f"targets `{name}`", _code(digest)) for name, digest in lineage["target_specs"].items()]
    rows += [
        (kind, f"{len(lineage[field])}, digests in `lineage.json`")
        for kind, field in (("training shards", "train_shards"), ("held-out shards", "validation_shards"))
    ]
    rows += [("made with", ", ".join(f"{name} {version}" for name, version in lineage["packages"].items()))]
    rows += [("commit", _code(git["commit"]) + (", with changes" if git["dirty"] else ""))] if git else []
    return markdown_table(("", ""), rows)


def _code(text: str) -> str:
    """Text as inline code: what a user named can break neither the table nor the page."""
    return "`" + " ".join(without_secrets(text).replace("`", "'").split()) + "`"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _figure_title(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0]
