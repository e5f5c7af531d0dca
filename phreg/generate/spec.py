"""From a teacher and a config to the target spec, and whether a teacher is the one a spec means."""

from phreg.cache import TargetSpec, TeacherIdentity
from phreg.config.denoisers import ViewsConfig
from phreg.config.run import TargetConfig, TeacherConfig
from phreg.errors import ConfigError, SpecMismatchError
from phreg.fingerprint import canonical_json
from phreg.method.denoising import denoiser_of
from phreg.models import Backbone


def target_spec(
    teacher: Backbone, teacher_config: TeacherConfig, target: TargetConfig, seed: int
) -> TargetSpec:
    """The spec of targets that this teacher makes. Where its weights lay is no part of it.

    The denoiser is calibrated. Raises `ConfigError` for a teacher whose input is not square: crops are; and
    for one that it cannot clean.
    """
    denoiser = target.denoiser
    denoiser_of(denoiser).check(teacher)
    return TargetSpec(
        **_of_the_network(teacher),
        precision=teacher_config.precision,
        min_crop=target.min_crop,
        crops_per_image=target.crops_per_image,
        views=denoiser.view_count,
        max_shift=denoiser.view_shift,
        denoiser=None if isinstance(denoiser, ViewsConfig) else denoiser,  # these need no more words
        seed=seed,
        encoding=target.encoding,
        variance=target.variance,
    )


def check_teacher(teacher: Backbone, spec: TargetSpec) -> None:
    """Raise `SpecMismatchError`, naming what differs, unless the spec's targets come from this teacher."""
    ours = _of_the_network(teacher)
    wrong = [name for name, value in ours.items() if value != getattr(spec, name)]
    if wrong:
        raise SpecMismatchError(
            "The teacher is not the one of the target spec",
            expected="; ".join(f"{name} {getattr(spec, name)}" for name in wrong)[:1000],
            found="; ".join(f"{name} {ours[name]}" for name in wrong)[:1000],
            remedy="give every node the same checkpoint, or plan the run again (`phreg plan`)",
        )


def _of_the_network(teacher: Backbone) -> dict[str, object]:
    """The fields of a spec that the loaded network decides."""
    height, width = teacher.image_size
    if height != width:
        raise ConfigError(
            "Targets are made of square crops",
            expected="a teacher with a square input",
            found=f"{height} x {width} pixels",
            remedy="set teacher.image_size",
        )
    return {
        "teacher": TeacherIdentity(
            architecture=canonical_json(teacher.architecture).decode(), weights=teacher.weights_digest()
        ),
        "read_out": teacher.read_out,
        "image_size": height,
        "grid_size": teacher.grid_size,
        "dim": teacher.out_dim,
        "pos_embed_resize": teacher.pos_embed_resize,
        "mean": tuple(teacher.mean.tolist()),
        "std": tuple(teacher.std.tolist()),
    }
