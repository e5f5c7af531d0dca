"""The stages of a run as a user configures them: teacher, targets, students, how they are measured."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PositiveInt,
    model_validator,
)
from pydantic_core import PydanticCustomError

from phreg.config.denoised_section import DenoisedSection
from phreg.config.model import (
    ConfigModel,
    Head,
    Name,
    PathOrUrl,
    PositiveFloat,
    ReadOut,
    Resize,
    also,
    model_folder,
)

Precision = Literal["float32", "bfloat16", "auto"]
"""`auto`: bfloat16 where the run has a GPU for it, else float32. Specs and jobs name what it was."""


def precision_on(precision: Precision, gpus: float) -> Precision:
    """What it is where so many GPUs are given to each actor or worker."""
    return precision if precision != "auto" else "bfloat16" if gpus else "float32"


Encoding = Literal["float32", "float16", "bfloat16", "int8"]


def _one_at_most(gpus: float) -> float:
    if not 0 <= gpus <= 1:
        raise ValueError(
            f"expected 0 to 1, found {gpus:g}: each actor or worker uses one GPU, or a share of one; "
            "to use more GPUs, let there be more of them (generation.max_actors, training.workers)"
        )
    return gpus


def _or_none(registers: Any) -> Any:
    if registers == 0 and isinstance(registers, int):
        raise PydanticCustomError(
            "registers", "expected at least 1; `none` is the ablation: a student without registers"
        )
    return None if registers == "none" else registers


def _auto_or_some(students: Any) -> Any:
    some = isinstance(students, int) and not isinstance(students, bool) and students > 0
    if students != "auto" and not some:
        raise PydanticCustomError(
            "parallel_students",
            "expected `auto`, as many as there is room for, or a number of at least 1 (one after the other)",
        )
    return students


Gpus = Annotated[float, AfterValidator(_one_at_most)]


class TeacherConfig(ConfigModel):
    """The frozen network whose features are cleaned."""

    model: PathOrUrl = Field(
        description="`timm/NAME[.TAG]`, `open_clip/NAME[:TAG]`, `local-dir:PATH` (timm's hub layout), "
        "`hf-hub:OWNER/NAME[@REVISION]` (that layout on a hub), "
        "`open_clip-dir:PATH` (open_clip's) or `phreg/small-clip`"
    )
    checkpoint: PathOrUrl | None = Field(None, description="fsspec URL of weights; needs no internet")
    checkpoint_key: str | None = Field(
        None, description="which network of a checkpoint with several, for instance `teacher.backbone`"
    )
    image_size: PositiveInt | None = Field(
        None, description="side of the square input in pixels, a multiple of the patch; default: the model's"
    )
    read_out: ReadOut = Field("standard", description="dense features of the last block; CLIP: `naclip`")
    head: Head | None = Field(
        None,
        description="what a linear head is: CLIP's `projection`, part of the features, or a `classifier`; "
        "default: what the model says",
    )
    block: int | None = Field(
        None,
        description="the features are those after this block and the final norm; -2: the last but one. "
        "Blocks after it, and a projection, are left out, of students too; default: the last",
    )
    pos_embed_resize: Resize | None = Field(
        None,
        description="how absolute positions are resampled to another size: `paper`, `timm` or `dinov2`; "
        "default: `paper`, or what a student's directory says",
    )
    mean: tuple[float, float, float] | None = Field(None, description="normalisation; default: the model's")
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = Field(None, description="see mean")
    precision: Precision = Field(
        "float32", description="of the forward pass; part of the target spec; `auto`: bfloat16 on a GPU"
    )

    @property
    def files(self) -> list[str]:
        """Files and folders of weights that it names; none of a model that is downloaded."""
        return [place for place in (self.checkpoint, model_folder(self.model)) if place is not None]


class TargetConfig(DenoisedSection):
    """One named way of making targets: a denoiser's options, and what is cached. Defaults are the paper's."""

    crops_per_image: PositiveInt = Field(1, description="crops cached per image")
    min_crop: float = Field(
        0.5, gt=0, le=1, description="smallest crop side as a fraction of the image's short side (largest: 1)"
    )
    encoding: Encoding = Field("float16", description="how target features are stored")
    variance: bool = Field(
        False,
        description="store how sure each token is: the variance of its mean over views, 4 bytes (method "
        "`views`, also as `then`)",
    )

    @model_validator(mode="after")
    def _over_views(self) -> Self:
        if self.variance and not self.denoiser.has_variance:
            raise ValueError(
                "variance is that of a mean over 2 views or more (method: views, or `then` it), and this is "
                f"{self.denoiser.title}"
            )
        return self


class StudentConfig(ConfigModel):
    """One student: the teacher's network, or another, with registers, distilled from one kind of targets."""

    name: Name = Field(description="of the student, in tables and in the registry; each its own")
    targets: Name = Field(description="which of the config's targets it learns from")
    model: PathOrUrl | None = Field(
        None,
        description="another network than the teacher's, named as there: it learns the targets through a "
        "linear map that is stored beside it; default: the teacher's",
    )
    checkpoint: PathOrUrl | None = Field(None, description="fsspec URL of weights for that model")
    checkpoint_key: str | None = Field(None, description="which network of a checkpoint with several")
    registers: Annotated[PositiveInt | None, BeforeValidator(_or_none)] = Field(
        16,
        description="register tokens added; none: a student without any, for ablations",
        json_schema_extra=also({"const": "none"}),
    )
    unlock: tuple[str, ...] = Field(
        ("registers", "pos_embed", "patch_embed", "last_block"),
        min_length=1,
        description="parameter groups that learn, `lora` or `lora:RANK` (changes of low rank, default 8, of "
        "attention and MLPs, merged when saved), or glob patterns of timm parameter names; default with a "
        "`model`: all",
    )
    read_out: ReadOut | None = Field(None, description="default: `standard`; `value` for a CLIP teacher")
    learning_rate: PositiveFloat = Field(1e-4, description="AdamW, at the first step")
    final_learning_rate: PositiveFloat = Field(5e-6, description="at the last step; the decay is exponential")
    weight_decay: float = Field(1e-2, ge=0, description="AdamW")
    weigh_by_certainty: bool = Field(
        False,
        description="tokens count in the loss by how sure they are; the targets must have `variance: true`",
    )
    clip_gradient: PositiveFloat | None = Field(
        1.0, description="largest global gradient norm; null: no clipping"
    )
    epochs: PositiveFloat = Field(1.0, description="passes over the cached crops; fractions are allowed")
    batch_size: PositiveInt = Field(16, description="crops per step and worker")
    precision: Precision = Field(
        "float32", description="of the forward pass; weights stay float32; `auto`: bfloat16 on a GPU"
    )
    seed: int = Field(0, description="of the registers' start values and the order of samples")

    @model_validator(mode="before")
    @classmethod
    def _all_of_another(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("model") is not None:
            return {"unlock": ("*",)} | value
        return value

    @model_validator(mode="after")
    def _whose_checkpoint(self) -> Self:
        given = self.checkpoint if self.checkpoint is not None else self.checkpoint_key
        if self.model is None and given is not None:
            raise ValueError("a student's checkpoint is that of its `model`, which is not given")
        return self

    @property
    def files(self) -> list[str]:
        """Files and folders of weights that it names."""
        places = (self.checkpoint, self.model and model_folder(self.model))
        return [place for place in places if place is not None]


class GenerationConfig(ConfigModel):
    """The pool of Ray actors that makes targets. None of it changes a target's value."""

    min_actors: PositiveInt = Field(1, description="actors without which the run does not go on")
    max_actors: PositiveInt = Field(1, description="actors the run grows to as the cluster allows")
    gpus_per_actor: Gpus | None = Field(
        None, description="up to 1; 0 runs the teacher on CPU; default: one where the run's device is a GPU"
    )
    cpus_per_actor: PositiveFloat = Field(1, description="CPUs that Ray keeps free for each actor")
    images_per_forward: PositiveInt = Field(
        8, description="crops (with all views) per forward pass; CPU: always 1"
    )
    max_attempts: PositiveInt = Field(3, description="attempts per shard before it is reported as failed")
    start_timeout_s: PositiveFloat = Field(300, description="seconds to wait for min_actors")
    stall_timeout_s: PositiveFloat = Field(
        3600, description="seconds without a shard read or a batch begun until an actor is taken for hung"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_actors < self.min_actors:
            raise ValueError(f"max_actors ({self.max_actors}) is below min_actors ({self.min_actors})")
        return self

    @property
    def gpus(self) -> float:
        """Of each actor; none while that is left to the device."""
        return self.gpus_per_actor or 0


class TrainingConfig(ConfigModel):
    """How Ray Train runs a student. Of it, `workers` and `shuffle_shards` change the loss curve."""

    workers: PositiveInt = Field(1, description="data-parallel workers")
    gpus_per_worker: Gpus | None = Field(None, description="likewise, for training")
    cpus_per_worker: PositiveFloat = Field(1, description="CPUs that Ray keeps free for each worker")
    parallel_students: Annotated[int | Literal["auto"], BeforeValidator(_auto_or_some)] = Field(
        "auto",
        description="students trained side by side, at most; `auto`: as many as machine or cluster have "
        "room for, by cpus_per_worker and gpus_per_worker",
    )
    students_per_worker: PositiveInt = Field(
        8,
        description="students trained by one worker, each batch read and decoded once for all: at most, "
        "of those with the same targets, seed, batch_size and epochs; 1: each by itself",
    )
    shuffle_shards: PositiveInt = Field(
        4,
        description="neighbouring shards whose crops are shuffled together; a worker holds one more, "
        "which it reads ahead: `phreg plan` says how many bytes",
    )
    checkpoint_every: PositiveInt = Field(200, description="steps between checkpoints")
    keep_checkpoints: bool = Field(
        False,
        description="also when the student is finished; without them one whose files are lost or damaged "
        "is trained anew",
    )
    validate_every: PositiveInt = Field(200, description="steps between validations")
    validation_crops: PositiveInt = Field(
        512, description="held-out crops that the loss is validated on: the first, or all if there are fewer"
    )
    start_timeout_s: PositiveFloat = Field(
        300, description="seconds to wait for room for all workers, at the start and after each failure"
    )
    max_failures: int = Field(3, ge=0, description="worker failures survived before the student is given up")
    max_skipped_steps: int = Field(
        10,
        ge=0,
        description="steps without a finite loss that are left out; one more ends the training",
    )

    @property
    def gpus(self) -> float:
        """Of each worker; none while that is left to the device."""
        return self.gpus_per_worker or 0


class PricesConfig(ConfigModel):
    """What `phreg plan` tells costs from, in whatever currency; what is not given is not told."""

    gpu_hour: float | None = Field(None, ge=0, description="a GPU for an hour")
    gb_month: float | None = Field(None, ge=0, description="a gigabyte (10^9 bytes) stored for a month")


class EvaluationConfig(ConfigModel):
    """Label-free measures on held-out crops."""

    images: PositiveInt = Field(
        64, description="held-out images measured, from the first validation shards on"
    )
    shifts: PositiveInt = Field(8, description="patch shifts for shift consistency")
    max_shift: float = Field(
        0.15, gt=0, lt=1, description="largest of them, as a fraction of the grid's side"
    )
    figures: int = Field(4, ge=0, description="images drawn, before and after")
    targets: Name | None = Field(
        None, description="targets the cosine is measured to; default: those of the most forward passes"
    )
