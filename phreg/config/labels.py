"""The config of labelled evaluation: data sets, open-vocabulary segmentation, linear probes."""

from collections import Counter
from typing import Literal, Self, TypeVar

from pydantic import Field, PositiveInt, model_validator

from phreg.config.model import ConfigModel, Fraction, Name, PathOrUrl, PositiveFloat

SetKind = Literal[
    "voc21", "voc20", "context60", "context59", "coco_object", "coco_stuff",
    "cityscapes", "ade20k", "nyu_depth", "folder",
]  # fmt: skip


class LabelledSetConfig(ConfigModel):
    """A labelled data set on a local disk, in the folders that its official archive unpacks to."""

    kind: SetKind = Field(description="which set, or `folder`: any images with masks or depth maps")
    root: PathOrUrl = Field(description="folder that the archive was unpacked to")
    split: str | None = Field(None, description="default: the set's validation split; `folder`: a subfolder")
    images: PositiveInt | None = Field(None, description="only the first so many; default: all")
    ignore: tuple[int, ...] = Field(
        (),
        description="`folder`: label values that do not count, besides 255 (CamVid: 11); a first class "
        "`background` of which 0 does not count is no class (VOC: 20 classes instead of 21)",
    )


EMBEDDING_FILES = (".npy", ".safetensors")


def is_embedding_file(text: str) -> bool:
    """Whether class names come as vectors in a file, and not from a model's text tower."""
    return text.lower().endswith(EMBEDDING_FILES)


AnySet = TypeVar("AnySet", bound=LabelledSetConfig)


class SegmentationConfig(ConfigModel):
    """Open-vocabulary segmentation: from dense features and class names to label maps."""

    short_side: PositiveInt | None = Field(
        None, description="pixels the image's short side is resized to; default: the model's image size"
    )
    window: PositiveInt | None = Field(
        None, description="side of sliding square windows in pixels; default: the whole image at once"
    )
    stride: PositiveInt | None = Field(None, description="between windows in pixels; default: half a window")
    logit_scale: PositiveFloat = Field(40.0, description="cosine to logit, before the softmax")
    background_threshold: Fraction | None = Field(
        None, description="pixels whose best class has a lower probability are background; sets that have one"
    )
    min_images: PositiveInt | None = Field(
        None,
        description="mIoU is over the classes labelled in at least so many images (1: those that are there "
        "at all); default: over all that are labelled or predicted, as the field has it",
    )
    pamr_steps: int = Field(0, ge=0, description="iterations of PAMR refinement; 0: none")


class ProbeConfig(ConfigModel):
    """A linear probe on frozen features, as DINOv2 trains them."""

    image_size: PositiveInt | None = Field(
        None, description="side in pixels of the square all images are resized to; default: the model's"
    )
    steps: PositiveInt = Field(1000, description="of training, whatever the size of the set; DINOv2: 40 000")
    batch_size: PositiveInt = Field(16, description="images per step")
    learning_rate: PositiveFloat = Field(
        1e-2, description="AdamW, decaying to zero along a cosine; for 40 000 steps DINOv2 takes 1e-3"
    )
    weight_decay: float = Field(1e-4, ge=0, description="AdamW")
    max_depth: PositiveFloat = Field(10.0, description="of depth probes, in metres; larger ones do not count")
    seed: int = Field(0, description="of the head's start values and the order of images")


class SetColumn(LabelledSetConfig):
    """Open-vocabulary segmentation of a labelled set: columns of mIoU and pixel accuracy."""

    name: Name = Field(description="of the columns")
    segmentation: SegmentationConfig = Field(SegmentationConfig(), description="how the set is segmented")
    text: PathOrUrl | None = Field(
        None, description="what names this set's classes, as `labels.text`; default: what that says"
    )


class ProbeColumn(ConfigModel):
    """A linear probe: trained on one part of a labelled set, measured on another."""

    name: Name = Field(description="of the columns")
    task: Literal["segmentation", "depth"] = Field(description="what the probe learns to tell of each patch")
    train: LabelledSetConfig = Field(description="the part it is trained on")
    test: LabelledSetConfig = Field(description="the part it is measured on")
    probe: ProbeConfig = Field(ProbeConfig(), description="how it is trained")


Column = SetColumn | ProbeColumn


class LabelsConfig(ConfigModel):
    """What models are measured on with labels; a set whose folder is not there is left out, and named."""

    text: PathOrUrl | None = Field(
        None,
        description="what names the classes: a model by its text tower, or class embeddings in a file "
        "(FILE.npy: a row a class; FILE.safetensors: vectors under names); default: the teacher's model",
    )
    sets: tuple[SetColumn, ...] = Field((), description="open-vocabulary segmentation")
    probes: tuple[ProbeColumn, ...] = Field((), description="linear probes")

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [column.name for column in self.sets] + [column.name for column in self.probes]
        check_names("labelled sets", names)
        return self


def check_names(what: str, names: list[str]) -> None:
    """Raises `ValueError` if two are equal."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"two {what} are called {twice[0]!r}; give each its own name")
