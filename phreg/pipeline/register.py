"""The last stage: a student becomes a numbered version, and the gate decides whether it is the champion."""

from dataclasses import dataclass

from phreg.cache import TargetStore
from phreg.config.run import RunConfig, StudentConfig
from phreg.distill.result import StudentReport
from phreg.errors import ModelError
from phreg.evaluate import Evaluation
from phreg.models import load_student, timm_snippet
from phreg.models.hub import CONNECTOR_FILE
from phreg.models.snippet import connector_snippet
from phreg.pipeline.assess import FIGURES, Assessment, assess_model
from phreg.pipeline.gate_evidence import labelled_sides
from phreg.pipeline.methods import Labelled
from phreg.pipeline.prepare import Prepared
from phreg.pipeline.students import student_job
from phreg.registry import Entry, LabelledSides, Registry, Verdict, check_store, judge, lineage, model_card
from phreg.storage import Folder

MODEL_FILES = ("config.json", "model.safetensors")


@dataclass(frozen=True)
class Registered:
    """A student in the registry. `reused`: it was there before. `reason`: why the gate let it pass or not."""

    name: str
    targets: str
    version: int
    url: str
    reused: bool
    promoted: bool
    reason: str


def check_registry(config: RunConfig) -> None:
    """Raise, before anything starts, where versions could not be numbered in the end."""
    check_store(Folder(config.registry_url))


def register_student(
    config: RunConfig,
    prepared: Prepared,
    student: StudentConfig,
    report: StudentReport,
    teacher: Evaluation,
    assessment: Assessment,
    labelled: Labelled | None = None,
) -> Registered:
    """Register a student (once), and hold it against the gate (once). Both are recorded with it.

    `labelled`: what was measured of teacher and student, for rules on labelled sets.
    """
    registry = Registry(Folder(config.registry_url))
    entry = registry.find(config.name, report.digest)
    reused = entry is not None
    if entry is None:
        entry = _register(registry, config, prepared, student, report, teacher, assessment)

    def verdict(champion: Entry | None) -> Verdict:
        sides = labelled_sides(config, prepared, labelled, student.name, champion)
        as_teacher = prepared.read_outs[student.name] == config.teacher.read_out
        return _verdict(config, prepared, teacher, assessment.evaluation, champion, as_teacher, sides)

    decision = registry.decide(entry, config.gate.alias, verdict)
    return Registered(
        student.name,
        student.targets,
        entry.version,
        entry.url,
        reused,
        decision.promoted,
        "; ".join(decision.reasons),
    )


def _verdict(
    config: RunConfig,
    prepared: Prepared,
    teacher: Evaluation,
    student: Evaluation,
    held: Entry | None,
    as_teacher: bool,
    sides: LabelledSides | None,
) -> Verdict:
    """Champion and student are compared on the same crops: an older champion is measured again on these."""
    champion = None
    if held is not None:
        same = held.record.benchmark == student.benchmark
        champion = held.metrics if same else _measured_anew(config, prepared, held)
    return judge(
        config.gate.rules,
        student=student.metrics,
        teacher=teacher.metrics,
        champion=champion,
        as_teacher=as_teacher,
        labelled=sides,
    )


def _measured_anew(config: RunConfig, prepared: Prepared, champion: Entry) -> dict[str, float]:
    """An older champion on this run's crops; nothing if it takes others: its rules then refuse."""
    try:
        return assess_model(config, prepared, champion.url).metrics
    except ModelError:
        return {}


def _register(
    registry: Registry,
    config: RunConfig,
    prepared: Prepared,
    student: StudentConfig,
    report: StudentReport,
    teacher: Evaluation,
    assessment: Assessment,
) -> Entry:
    folder, metrics = Folder(report.url), assessment.evaluation.metrics
    origin = _lineage(config, prepared, student, report, assessment.evaluation.benchmark)
    trained = load_student(f"{report.url}/model")
    names = MODEL_FILES if trained.connector is None else (*MODEL_FILES, CONNECTOR_FILE)
    files = {name: folder.read(f"model/{name}") for name in names}
    files["curve.jsonl"] = folder.read("curve.jsonl")
    figures = [f"{FIGURES}/{name}" for name in assessment.figures]
    files |= {path: folder.read(path) for path in figures}
    card = model_card(
        model=config.name,
        student=student,
        teacher=config.teacher,
        targets=config.targets[student.targets],
        steps=report.steps,
        skipped_steps=report.skipped_steps.count,
        images=assessment.evaluation.images,
        metrics=metrics,
        teacher_metrics=teacher.metrics,
        snippet=timm_snippet(trained, "."),
        connector=connector_snippet(trained, "."),
        lineage=origin,
        figures=figures,
        pos_embed_resize=trained.pos_embed_resize,
    )
    return registry.register(
        config.name,
        files | {"README.md": card.encode()},
        student=student.name,
        student_digest=report.digest,
        metrics=metrics,
        teacher_metrics=teacher.metrics,
        lineage=origin,
        benchmark=assessment.evaluation.benchmark,
    )


def _lineage(
    config: RunConfig, prepared: Prepared, student: StudentConfig, report: StudentReport, benchmark: str
) -> dict[str, object]:
    job = student_job(config, prepared, student)
    store = TargetStore.open(Folder(config.cache_url), prepared.targets[config.reference_targets])
    names = [shard.name for shard in job.validation]
    held_out = {name: record.shard_digest for name, record in store.records(names).items()}
    return lineage(
        config.model_dump(mode="json"),
        student_digest=report.digest,
        target_specs=prepared.targets,
        train_shards={shard.name: shard.digest for shard in job.train},
        validation_shards={s.name: held_out.get(s.name, s.digest) for s in job.validation},
        benchmark=benchmark,
    )
