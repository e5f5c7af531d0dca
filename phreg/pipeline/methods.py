"""The rows of a table: methods, each a network and how its features are taken; and measuring one of them."""

from dataclasses import dataclass, field, replace
from typing import Any

from phreg.cache import TargetStore
from phreg.config.labels import Column, ProbeColumn, SetColumn
from phreg.config.run import TEACHER, RunConfig
from phreg.config.table import TeacherRow
from phreg.distill.result import StudentReport
from phreg.errors import PhregError, is_permanent_error
from phreg.evaluate import Evaluation, ModelIdentity
from phreg.fingerprint import digest_json
from phreg.method.denoising import Denoising
from phreg.models import Backbone, load_student, load_teacher
from phreg.pipeline.assess import device_of, evaluated, evaluation_of, on_cluster
from phreg.pipeline.calibrate import calibrated
from phreg.pipeline.columns import (
    Bench,
    Scores,
    in_order,
    kept_in,
    labelled_sets,
    measure_column,
    store_found,
    stored_scores,
)
from phreg.pipeline.known import known_identity, note_loaded
from phreg.pipeline.prepare import Prepared
from phreg.pipeline.set_contents import Content, content_of, known_content
from phreg.progress import under
from phreg.storage import Folder

FORMAT_VERSION = 5  # raise it when the same method would have other scores
_PLACES: Any = {"name": True, "root": True, "text": True, "train": {"root"}, "test": {"root"}}
LABEL_FREE = (
    "shift_cosine_mean", "target_cosine_p50", "artifact_rate", "norm_ratio", "class_token_cosine",
)  # fmt: skip


@dataclass(frozen=True)
class Method:
    """One row of one seed. `model_url`: a student's folder; None: the teacher, under `read_out`."""

    name: str
    seed: int
    model_url: str | None = None
    read_out: str | None = None
    denoising: Denoising | None = None

    def denoising_on(self, config: RunConfig, backbone: Backbone) -> Denoising | None:
        """Its denoiser calibrated on the run's images, for this network."""
        if self.denoising is None:
            return None
        denoiser = calibrated(config, backbone, self.denoising.denoiser)
        return replace(self.denoising, denoiser=denoiser)

    def load(self, config: RunConfig) -> Backbone:
        if self.model_url is not None:
            return load_student(self.model_url)
        return load_teacher(config.teacher.model_copy(update={"read_out": self.read_out}))


@dataclass(frozen=True)
class Measured:
    """A method's measures by "COLUMN MEASURE"; columns that could not be measured, with the reason; and the
    digest under which each column's are stored."""

    scores: Scores
    failures: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    def add(self, column: Column, scores: Scores, digest: str) -> None:
        self.scores.update({f"{column.name} {name}": value for name, value in in_order(scores)})
        self.digests[column.name] = digest


@dataclass(frozen=True)
class Labelled:
    """Methods beside each other, and what was measured of each, by name."""

    methods: tuple[Method, ...] = ()
    measured: dict[str, Measured] = field(default_factory=dict)

    @property
    def scores(self) -> dict[str, Scores]:
        return {name: found.scores for name, found in self.measured.items()}

    def add(self, method: Method, measured: Measured) -> "Labelled":
        return Labelled((*self.methods, method), self.measured | {method.name: measured})


def baselines(config: RunConfig) -> tuple[Method, ...]:
    """What a run's students are held against: the teacher in one pass, and denoised as their targets are.

    No student has one of their names: of the first `RunConfig` says so, and a `Name` has no comma.
    """
    targets = config.targets[config.reference_targets]
    read_out, denoiser = config.teacher.read_out, targets.denoiser
    one_pass = Method(TEACHER, config.seed, None, read_out)
    cleaned = Denoising(denoiser, config.seed)
    denoised = Method(f"{TEACHER}, {denoiser.title}", config.seed, None, read_out, cleaned)
    return (one_pass,) if denoiser.is_one_pass else (one_pass, denoised)


def read_as_students(config: RunConfig, prepared: Prepared) -> tuple[Method, ...]:
    """The teacher under those of its students' read-outs that are not its own, if the gate compares with it
    on labelled sets: what another read-out alone gains is no merit of a student."""
    if not any(rule.against == "teacher" for rule in config.gate.labelled_rules):
        return ()
    others = sorted(set(prepared.read_outs.values()) - {config.teacher.read_out})
    return tuple(Method(f"{TEACHER}, read as {name}", config.seed, None, name) for name in others)


def teacher_method(row: TeacherRow, seed: int) -> Method:
    denoising = None if row.denoiser.is_one_pass else Denoising(row.denoiser, seed)
    return Method(row.name, seed, None, row.read_out, denoising)


def student_method(report: StudentReport, seed: int) -> Method:
    return Method(report.name, seed, f"{report.url}/model")


def measure(config: RunConfig, prepared: Prepared, method: Method, *, label_free: bool = False) -> Measured:
    """A method's measures on the columns that are there, as one Ray task unless all of them are known.

    `label_free` adds the run's own measures, where the method is a single pass. What was measured before
    is not measured again. A column that fails keeps no other from being measured; what would pass on
    another try, or once targets are made anew, is raised.
    """
    known = _known(config, prepared, method, label_free)
    if known is not None:
        return known
    return on_cluster(config, _measure, config, prepared, method, label_free)


def _known(config: RunConfig, prepared: Prepared, method: Method, label_free: bool) -> Measured | None:
    """What is stored of all that is asked for, found without loading a model or reading an image."""
    identity = known_identity(config, prepared, method.model_url)
    calibrated = _calibrated(config, prepared, method)
    if identity is None or calibrated is None:
        return None
    method = calibrated
    if method.model_url is None and method.read_out is not None:
        identity = identity.under(method.read_out)
    kept, found = kept_in(config), Measured({})
    for column in prepared.columns:
        sets = [known_content(item, kept) for item in labelled_sets(column)]
        contents = [content for content in sets if content is not None]
        if len(contents) < len(sets):
            return None
        column = _with_seed(column, method.seed)
        digest = _digest(identity, method, column, contents, prepared.texts.get(column.name))
        scores = stored_scores(kept, digest, counted=isinstance(column, SetColumn))
        if scores is None:
            return None
        found.add(column, scores, digest)
    if label_free and method.denoising is None:
        evaluation = evaluation_of(config, prepared, identity)
        if evaluation is None:
            return None
        found.scores.update(_label_free(evaluation))
    return found


def _calibrated(config: RunConfig, prepared: Prepared, method: Method) -> Method | None:
    """With what its denoiser found on images, as this run's targets have it; None if that has to be found."""
    denoising = method.denoising
    if denoising is None or not denoising.denoiser.calibration_images:
        return method
    if method.model_url is None and method.read_out == config.teacher.read_out:
        for name, digest in prepared.targets.items():
            if config.targets[name].denoiser == denoising.denoiser:
                denoiser = TargetStore.open(Folder(config.cache_url), digest).spec.denoised_by
                return replace(method, denoising=replace(denoising, denoiser=denoiser))
    return None


def _measure(config: RunConfig, prepared: Prepared, method: Method, label_free: bool) -> Measured:
    """In a worker."""
    bench = Bench(config, device_of(config))
    backbone = method.load(config).on(bench.device)
    note_loaded(config, method.model_url, backbone)
    method = replace(method, denoising=method.denoising_on(config, backbone))
    found = Measured({})
    for column in prepared.columns:
        try:
            with under(column.name):
                scores, digest = _on_column(bench, method, backbone, _with_seed(column, method.seed))
        except PhregError as error:
            if not is_permanent_error(error):
                raise
            found.failures[column.name] = str(error)
        else:
            found.add(column, scores, digest)
    if label_free and method.denoising is None:
        found.scores.update(_label_free(evaluated(config, prepared, backbone)))
    return found


def _on_column(bench: Bench, method: Method, backbone: Backbone, column: Column) -> tuple[Scores, str]:
    """Scores, and the digest that they are stored under."""
    sets = [content_of(item, bench.folder) for item in labelled_sets(column)]
    text = None if isinstance(column, ProbeColumn) else bench.names(column).digest
    digest = _digest(ModelIdentity.of(backbone), method, column, sets, text)
    scores = stored_scores(bench.folder, digest, counted=isinstance(column, SetColumn))
    if scores is None:
        found = measure_column(column, backbone, method.denoising, bench)
        store_found(bench.folder, digest, found)
        scores = found.scores
    return scores, digest


def _label_free(evaluation: Evaluation) -> Scores:
    return {name: evaluation.metrics[name] for name in LABEL_FREE if name in evaluation.metrics}


def _with_seed(column: Column, seed: int) -> Column:
    if isinstance(column, ProbeColumn):
        probe = column.probe.model_copy(update={"seed": column.probe.seed + seed})
        return column.model_copy(update={"probe": probe})
    return column


def _digest(
    identity: ModelIdentity, method: Method, column: Column, sets: list[Content], text: str | None
) -> str:
    """Identity of a method's scores on a column; `text` of what names its classes."""
    fields: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "model": identity.fields,
        "denoising": method.denoising and method.denoising.as_data(),
        "column": column.model_dump(mode="json", exclude=_PLACES),
        "sets": sets,
        "text": text,
    }
    return digest_json(fields)
