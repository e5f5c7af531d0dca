"""What the report page says of a registered student, read from its entry in the registry."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from phreg.distill.curve import CurvePoint, Split, curve_from_jsonl
from phreg.method.loss import TERMS
from phreg.models import load_student, timm_snippet
from phreg.pipeline.columns import arrow
from phreg.registry import Decision, Entry
from phreg.report import Cell, Curve, Fact, ReportPage, Section, Table
from phreg.types import HIGHER_IS_BETTER, KEPT_FROM_TEACHER

MEASURES = {
    "artifact_rate": (
        "artifact patches",
        "share of patches whose norm before the final norm is far above their image's, their neighbours' and "
        "their own in shifted views; in the block where they are most",
    ),
    "norm_ratio": (
        "largest norm",
        "over the image's median before the final norm, in the block where it is most",
    ),
    "outlier_rate": ("artifacts in features", "the share of artifact patches after the final norm"),
    "shift_cosine_mean": (
        "steadiness, mean",
        "cosine between features of the same content when the image is shifted by whole patches",
    ),
    "shift_cosine_p5": ("steadiness, low end", "5th percentile of these cosines"),
    "target_cosine_p50": (
        "cleanness, median",
        "cosine between a patch's features and the teacher's, averaged over many shifted views",
    ),
    "target_cosine_p5": ("cleanness, low end", "5th percentile of these cosines"),
    "target_cosine_p1": ("cleanness, lowest end", "1st percentile of these cosines: the worst artifacts"),
    "class_token_cosine": (
        "class token kept",
        "cosine between the class token and the teacher's, of whole images; nothing was asked of it",
    ),
    "class_token_neighbours": (
        "neighbours kept",
        "of each image's five most similar ones by the teacher's class token, the share that are so still",
    ),
}


def page_of(entry: Entry, decision: Decision | None, sections: Sequence[Section], inputs: str) -> ReportPage:
    """The page's content. Raises `RegistryError` if a file of the entry was altered."""
    record = entry.record
    origin = json.loads(entry.read("lineage.json"))
    points = curve_from_jsonl(entry.read("curve.jsonl").decode()) if "curve.jsonl" in record.files else []
    student = load_student(entry.url)
    own_read_out = origin["config"]["teacher"]["read_out"]
    as_teacher = student.connector is not None or student.read_out == own_read_out
    return ReportPage(
        title=f"{record.model}: {record.student}",
        subtitle=f"Version {record.version}, registered {_moment(record.created)}",
        verdict=_verdict(record.metrics, record.teacher_metrics, as_teacher),
        badge=_badge(decision),
        good=decision is not None and decision.promoted,
        reasons=decision.reasons if decision else (),
        measures=measures_table(record.metrics, record.teacher_metrics, as_teacher),
        sections=tuple(sections),
        curves=curves(points),
        loading=timm_snippet(student, "."),
        making=_making(origin["config"], record.student, points),
        lineage=_lineage(origin),
        config=json.dumps(origin["config"], indent=2, ensure_ascii=False),
        inputs=inputs,
    )


def measures_table(
    student: Mapping[str, float], teacher: Mapping[str, float], as_teacher: bool = True
) -> Table:
    """The label-free measures of both, the better one stressed.

    `as_teacher`: whether both have one read-out; if not, cosines to the teacher's features do not compare.
    """
    rows = []
    for name, (title, meaning) in MEASURES.items():
        if name not in student:
            continue
        head = Cell(f"{title}\u00a0{arrow(name)}", f"{name}: {meaning}")
        better = _compares(name, teacher, as_teacher) and _better(name, student, teacher)
        rows.append((head, _number(teacher.get(name)), Cell(_number(student[name]), best=better)))
    caption = (
        "Measured on held-out images. Better is ↑ higher or ↓ lower; where the student is better, its "
        "number is bold."
    )
    if not as_teacher:
        caption += (
            " Its features are taken by another read-out than the teacher's: cosines to the teacher's are "
            "lower by nature, and say nothing of cleanness."
        )
    return Table("Without labels", caption, ("measure", "teacher", "student"), tuple(rows))


def _compares(name: str, teacher: Mapping[str, float], as_teacher: bool) -> bool:
    if name in KEPT_FROM_TEACHER:
        return False  # nothing is better there than the teacher itself
    return name in teacher and (as_teacher or not name.startswith("target_"))


def _better(name: str, student: Mapping[str, float], teacher: Mapping[str, float]) -> bool:
    gain = student[name] - teacher[name]
    return gain > 0 if HIGHER_IS_BETTER[name] else gain < 0


def _verdict(student: Mapping[str, float], teacher: Mapping[str, float], as_teacher: bool) -> str:
    compared = [name for name in HIGHER_IS_BETTER if name in student and _compares(name, teacher, as_teacher)]
    better = sum(_better(name, student, teacher) for name in compared)
    if not compared:
        return "It was not measured against its teacher."
    if better == len(compared):
        return f"Better than its teacher in all {better} measures that need no labels."
    return f"Better than its teacher in {better} of {len(compared)} measures that need no labels."


def _badge(decision: Decision | None) -> str:
    if decision is None:
        return "not judged"
    return f"promoted to {decision.alias}" if decision.promoted else "not promoted"


def _moment(created: str) -> str:
    """An ISO 8601 moment for readers: to the minute, in UTC."""
    return f"{created[:16].replace('T', ' ')} UTC"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def curves(points: Sequence[CurvePoint]) -> tuple[Curve, ...]:
    if not points:
        return ()
    shown = {"total": ("Loss", "the sum of its terms, which training makes small")}
    shown |= {
        n: (term.title.capitalize(), term.meaning) for n, term in TERMS.items() if n in points[0].losses
    }
    return tuple(
        Curve(title, meaning, _split(points, "train", term), _split(points, "validation", term))
        for term, (title, meaning) in shown.items()
    )


def _split(points: Sequence[CurvePoint], split: Split, term: str) -> tuple[tuple[float, float], ...]:
    return tuple((float(point.step), point.losses[term]) for point in points if point.split == split)


def _making(config: Mapping[str, Any], name: str, points: Sequence[CurvePoint]) -> tuple[Fact, ...]:
    """From the recorded config, which may be of an older version: what it lacks is left out."""
    students = {student["name"]: student for student in config.get("students", ())}
    student: Mapping[str, Any] = students.get(name, {})
    teacher = config.get("teacher", {})
    targets = config.get("targets", {}).get(student.get("targets"), {})
    rate = student.get("learning_rate"), student.get("final_learning_rate")
    rows = {
        "teacher": teacher.get("model"),
        "teacher's read-out": teacher.get("read_out"),
        "image size": teacher.get("image_size"),
        "targets": student.get("targets"),
        "denoised by": targets.get("method"),
        "views a target": targets.get("views"),
        "tokens weigh": "by how sure their targets are" if student.get("weigh_by_certainty") else None,
        "registers": student["registers"] or "none" if "registers" in student else None,
        "unlocked": ", ".join(student.get("unlock", ())) or None,
        "steps": max((point.step for point in points), default=None),
        "batch size": student.get("batch_size"),
        "learning rate": f"{rate[0]:g} falling to {rate[1]:g}" if None not in rate else None,
        "precision": student.get("precision"),
        "seed": student.get("seed"),
    }
    return tuple((term, str(value)) for term, value in rows.items() if value is not None)


def _lineage(origin: Mapping[str, Any]) -> tuple[Fact, ...]:
    git = origin.get("git")
    rows = [("student's job", origin["student_digest"])]
    rows += [(f"targets {name}", digest) for name, digest in origin["target_specs"].items()]
    for kind, field in (("training shards", "train_shards"), ("held-out shards", "validation_shards")):
        rows.append((kind, f"{len(origin[field])}, their digests in lineage.json"))
    rows.append(("made with", ", ".join(f"{n} {v}" for n, v in origin["packages"].items())))
    rows.append(("Python", origin["python"]))
    if git:
        rows.append(("commit", git["commit"] + (", with changes" if git["dirty"] else "")))
    return tuple(rows)
