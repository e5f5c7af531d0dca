"""The student at step 0, checked against the targets it is to learn from."""

from phreg.cache import TargetSpec, TeacherIdentity
from phreg.config.run import StudentConfig
from phreg.distill.job import StudentJob
from phreg.errors import TrainingError
from phreg.fingerprint import canonical_json, digest_json
from phreg.models import Backbone, Student, add_registers, load_backbone, load_teacher
from phreg.models.architecture import base_architecture, check_stock, vit_arguments
from phreg.models.backbone import fitting_side
from phreg.models.connector import Connector
from phreg.models.sizes import resize


def build_student(job: StudentJob, spec: TargetSpec, teacher: Backbone | None = None) -> Student:
    """The teacher with registers, the job's parameters unlocked, at the targets' size and normalisation.

    `teacher` as from `checked_teacher`, which otherwise loads it. Raises `TrainingError` where student and
    targets cannot fit, `ModelError` where the finished student could not be written in timm's layout: before
    the first step, not after the last.
    """
    student = new_student(teacher or checked_teacher(job, spec), job.student)
    if student.start != job.start:
        raise TrainingError(
            f"{job.student.model} is not the network that the student {job.student.name} is to start from",
            expected=f"a network with digest {job.start[:12]}, as when the run began",
            found=student.start[:12],
            remedy="run again: what changed since makes another student",
        )
    if student.target_shape != (*spec.grid_size, spec.dim):
        raise TrainingError(
            f"The student {job.student.name} cannot learn from these targets",
            expected=f"features of {spec.dim} channels on a grid of {tuple(spec.grid_size)}, as the targets",
            found=f"{student.target_shape[2]} channels on a grid of {student.target_shape[:2]}",
            remedy="distil the model that made the targets, or name another as the student's `model`",
        )
    if job.student.weigh_by_certainty and not spec.variance:
        raise TrainingError(
            f"The student {job.student.name} is to weigh tokens by how sure its targets are",
            expected="targets made with `variance: true`",
            found=f"the spec {spec.digest[:12]}, which stores no variance",
        )
    return student


def checked_teacher(job: StudentJob, spec: TargetSpec) -> Backbone:
    """The job's teacher, at the targets' size and normalisation. Raises `TrainingError` if it did not make
    these targets."""
    as_in_spec = {"image_size": spec.image_size, "mean": spec.mean, "std": spec.std, "read_out": "standard"}
    teacher = load_teacher(job.teacher.model_copy(update=as_in_spec))
    _check_same_teacher(job, spec, teacher)
    return teacher


def new_student(teacher: Backbone, config: StudentConfig) -> Student:
    """The teacher with registers, or the config's own network and a connector to the teacher's features; what
    the config unlocks unlocked. Raises `ModelError` if it cannot be."""
    network, start = (teacher, "") if config.model is None else _another_network(teacher, config)
    student = add_registers(network, config.registers, config.read_out, config.seed)
    check_stock(student.vit, base_architecture(student.vit), vit_arguments(student.vit))
    student.unlock(config.unlock, config.seed)
    if config.model is not None:
        connector = Connector(student.out_dim, teacher.out_dim, teacher.grid_size, config.seed)
        student.connector, student.start = connector.to(teacher.mean.device), start
    return student


def _another_network(teacher: Backbone, config: StudentConfig) -> tuple[Backbone, str]:
    """The config's network at the size of the teacher's crops, or as near below it as its patch allows; and a
    digest of what it was before that."""
    network = load_backbone(str(config.model), config.checkpoint, checkpoint_key=config.checkpoint_key)
    size = tuple(fitting_side(side, network.patch_size) for side in teacher.image_size)
    start = {
        "architecture": network.architecture,
        "weights": network.weights_digest(),
        "mean": network.mean.tolist(),
        "std": network.std.tolist(),
        "pos_embed_resize": network.pos_embed_resize,
    }
    resize(network.vit, (size[0], size[1]), network.pos_embed_resize)
    return network.to(teacher.mean.device), digest_json(start)


def _check_same_teacher(job: StudentJob, spec: TargetSpec, teacher: Backbone) -> None:
    architecture = canonical_json(teacher.architecture).decode()
    found = TeacherIdentity(architecture=architecture, weights=teacher.weights_digest())
    if found != spec.teacher:
        raise TrainingError(
            f"{job.teacher.model} is not the network that made the targets {spec.digest[:12]}",
            expected=f"weights with digest {spec.teacher.weights} in {spec.teacher.architecture}",
            found=f"{found.weights} in {found.architecture}",
            remedy="give the checkpoint the targets were made with, or make targets with this one",
        )
