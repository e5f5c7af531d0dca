"""The student at step 0, checked against the targets it is to learn from."""

from phreg.cache import TargetSpec, TeacherIdentity
from phreg.config.run import StudentConfig
from phreg.distill.job import StudentJob
from phreg.errors import TrainingError
from phreg.fingerprint import canonical_json
from phreg.models import Backbone, Student, add_registers, load_teacher
from phreg.models.architecture import base_architecture, check_stock, vit_arguments


def build_student(job: StudentJob, spec: TargetSpec) -> Student:
    """The teacher with registers, the job's parameters unlocked, at the targets' size and normalisation.

    Raises `TrainingError` where student and targets cannot fit, `ModelError` where the finished student
    could not be written in timm's layout: before the first step, not after the last.
    """
    as_in_spec = {"image_size": spec.image_size, "mean": spec.mean, "std": spec.std, "read_out": "standard"}
    teacher = load_teacher(job.teacher.model_copy(update=as_in_spec))
    _check_same_teacher(job, spec, teacher)
    student = new_student(teacher, job.student)
    if (student.out_dim, student.grid_size) != (spec.dim, tuple(spec.grid_size)):
        raise TrainingError(
            f"The student {job.student.name} cannot learn from these targets",
            expected=f"features of {spec.dim} channels on a grid of {tuple(spec.grid_size)}, as the targets",
            found=f"{student.out_dim} channels on a grid of {student.grid_size}",
            remedy="distil the model that made the targets",
        )
    return student


def new_student(teacher: Backbone, config: StudentConfig) -> Student:
    """The teacher with registers, what the config unlocks unlocked. Raises `ModelError` if it cannot be."""
    student = add_registers(teacher, config.registers, config.read_out, config.seed)
    check_stock(student.vit, base_architecture(student.vit), vit_arguments(student.vit))
    return student.unlock(config.unlock)


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
