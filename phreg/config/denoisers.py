"""Denoisers as a user describes them: how a teacher's features are cleaned. `phreg/method/` does it.

A description is frozen plain data, tagged by `method`; it is part of a target spec, and says by itself what
it costs and how tables call it. A denoiser that has to look at some images first (`calibration_images`) holds
what it found there; calibrated or not, it is the same kind of description.
"""

import difflib
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveInt,
    SerializeAsAny,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from phreg.config.model import ConfigModel, PositiveFloat

MISPLACED = "misplaced_key"
"""Type of the errors of keys that no section of this method has."""


class DenoiserConfig(ConfigModel):
    """Base of all descriptions. Of a crop, or of any image: `view_count` views, shifted by up to `view_shift`
    of the grid's side, are drawn for it, and `forward_passes` of the teacher made."""

    method: str = Field(description="which denoiser this is")

    @property
    @abstractmethod
    def view_count(self) -> int: ...

    @property
    @abstractmethod
    def view_shift(self) -> float: ...

    @property
    def forward_passes(self) -> int:
        return self.view_count

    @property
    def fitting_steps(self) -> int:
        """Steps of an optimiser for each crop, where something is fitted to it; no forward passes."""
        return 0

    @property
    def calibration_images(self) -> int:
        """How many images it has to see before it can be used; 0 once it has."""
        return 0

    @property
    @abstractmethod
    def title(self) -> str:
        """A few words, for rows of tables."""

    @property
    @abstractmethod
    def in_words(self) -> str:
        """What is done to the teacher's features: "the teacher's features ..."."""

    @property
    def has_variance(self) -> bool:
        """Whether it can say how sure each feature is."""
        return False

    def parts(self) -> Iterator["DenoiserConfig"]:
        """This one, then those that it hands on to."""
        yield self

    @property
    def is_one_pass(self) -> bool:
        """The teacher as it is: nothing is cleaned."""
        return False


class _OfViews(DenoiserConfig):
    """What is made of the features of several views."""

    views: PositiveInt = Field(
        10, description="views per crop, the unshifted one included; 1 caches raw features"
    )
    max_shift: float = Field(0.15, ge=0, lt=1, description="largest shift, as a fraction of the grid's side")

    @property
    def view_count(self) -> int:
        return self.views

    @property
    def view_shift(self) -> float:
        return self.max_shift

    @property
    def _shifted(self) -> str:
        return f"shifted by up to {self.max_shift:.0%} of the grid's side"


class ViewsConfig(_OfViews):
    """The paper's: the mean over shifted and flipped views (arXiv 2505.21501, section 3.2)."""

    method: Literal["views"] = Field("views", description="the denoiser's name")

    @property
    def title(self) -> str:
        return "1 view" if self.is_one_pass else f"{self.views} views"

    @property
    def in_words(self) -> str:
        if self.is_one_pass:
            return "raw features of 1 view"
        return f"features averaged over {self.views} views, {self._shifted}"

    @property
    def is_one_pass(self) -> bool:
        return self.views == 1

    @property
    def has_variance(self) -> bool:
        return self.views > 1


class RefinedViewsConfig(_OfViews):
    """The same views: outliers are left out, and what is left is combined by more than a mean."""

    method: Literal["refined_views"] = Field("refined_views", description="the denoiser's name")
    outlier_factor: float | None = Field(
        2.0, gt=1, description="norm of an outlier over the median of its view, before the last block; "
        "null: none is left out"
    )  # fmt: skip
    combine: Literal["mean", "trimmed_mean", "median", "agreement"] = Field(
        "mean",
        description="of what is left of a patch's views; `agreement` weighs each by its cosine to the others",
    )
    trim: float | None = Field(
        None, gt=0, lt=0.5, description="share that `trimmed_mean` leaves out at each end; default: 0.2"
    )

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        least = {"mean": 2, "agreement": 2}.get(self.combine, 3)
        if self.views < least:
            raise ValueError(
                f"expected at least {least} views to take a {self.combine} of, found {self.views}"
            )
        if self.combine == "trimmed_mean":
            object.__setattr__(self, "trim", self.trim or 0.2)  # said or not, it is one description
        elif self.trim is not None:
            raise ValueError(f"trim belongs to combine: trimmed_mean, and combine is {self.combine}")
        if self.outlier_factor is None and self.combine == "mean":
            raise ValueError(
                "without outlier_factor a mean is that of method: views; take that, or a combine"
            )
        return self

    @property
    def title(self) -> str:
        how = "" if self.combine == "mean" else f" by {self.combine.replace('_', ' ')}"
        return f"{self.views} refined views{how}"

    @property
    def in_words(self) -> str:
        kept = "" if self.outlier_factor is None else ", outliers of each view left out"
        how = self.combine.replace("_", " ")
        return f"features over {self.views} views, {self._shifted}{kept}, combined by {how}"


class DvtConfig(_OfViews):
    """Of each crop a neural field is fitted to its views, beside what depends on places in them alone
    (arXiv 2401.02957, the first stage)."""

    method: Literal["dvt"] = Field("dvt", description="the denoiser's name")
    views: Annotated[int, Field(ge=2)] = Field(
        64, description="views per crop that the field is fitted to, the unshifted one included"
    )
    max_shift: float = Field(
        0.5, gt=0, lt=1, description="largest shift, as a fraction of the grid's side; above 0"
    )
    steps: PositiveInt = Field(500, description="steps of Adam per crop")
    learning_rate: PositiveFloat = Field(0.01, description="of Adam, at first; by a cosine to a tenth of it")

    @property
    def fitting_steps(self) -> int:
        return self.steps

    @property
    def title(self) -> str:
        return f"DVT of {self.views} views, {self.steps} steps"

    @property
    def in_words(self) -> str:
        return f"features as a field fitted to {self.views} views, {self._shifted}, by {self.steps} steps"


AnyDenoiser = Annotated[SerializeAsAny[DenoiserConfig], BeforeValidator(lambda data: parse_denoiser(data))]
"""A field that holds any description."""


class ChangeConfig(DenoiserConfig):
    """Something is done to the network; `then` makes features of what it has become."""

    images: PositiveInt = Field(16, description="images it is calibrated on, from the first training shards")
    then: AnyDenoiser = Field(
        ViewsConfig(views=1), description="what cleans the features further; default: one pass, and no more"
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        methods = [part.method for part in self.parts()]
        if len(set(methods)) < len(methods):
            raise ValueError(f"{' then '.join(methods)}: each method once")
        return self

    @property
    @abstractmethod
    def own_images(self) -> int:
        """How many images it has to see itself; 0 once it has."""

    @property
    @abstractmethod
    def words(self) -> str: ...

    @property
    def calibration_images(self) -> int:
        return max(self.own_images, self.then.calibration_images)

    @property
    def view_count(self) -> int:
        return self.then.view_count

    @property
    def view_shift(self) -> float:
        return self.then.view_shift

    @property
    def forward_passes(self) -> int:
        return self.then.forward_passes

    @property
    def has_variance(self) -> bool:
        return self.then.has_variance

    @property
    def fitting_steps(self) -> int:
        return self.then.fitting_steps

    @property
    def title(self) -> str:
        return self.words if self.then.is_one_pass else f"{self.words}, {self.then.title}"

    @property
    def in_words(self) -> str:
        return f"{self.then.in_words}, with {self.words}"

    def parts(self) -> Iterator[DenoiserConfig]:
        yield self
        yield from self.then.parts()


class TestTimeRegistersConfig(ChangeConfig):
    """Hidden units that make outliers write to a token beside the patches (arXiv 2506.08010)."""

    __test__: ClassVar[bool] = False  # to pytest

    method: Literal["test_time_registers"] = Field("test_time_registers", description="the denoiser's name")
    keep: PositiveInt = Field(10, description="hidden units that are moved, in all blocks together")
    last_block: NonNegativeInt | None = Field(
        None,
        description="the last block, from 0, they are sought in; default: where outliers first stand out",
    )
    neurons: tuple[tuple[NonNegativeInt, NonNegativeInt], ...] | None = Field(
        None, min_length=1, description="(block, hidden unit) of each; default: found on images"
    )

    @property
    def own_images(self) -> int:
        return 0 if self.neurons else self.images

    @property
    def words(self) -> str:
        return "test-time registers"


class PositionSubspaceConfig(ChangeConfig):
    """Directions that tell where a patch is are projected out (arXiv 2507.14137)."""

    method: Literal["position_subspace"] = Field("position_subspace", description="the denoiser's name")
    images: Annotated[int, Field(ge=2)] = Field(32, description="images it is calibrated on, as above")
    frequencies: PositiveInt = Field(
        1,
        description="cosines of row and of column that are projected out; 1: nearly these themselves",
    )
    directions: str | None = Field(
        None, max_length=1 << 20, pattern=r"^[A-Za-z0-9+/]+=*$",
        description="base64 of float32, as calibration writes it; default: found on images"
    )  # fmt: skip

    @property
    def own_images(self) -> int:
        return 0 if self.directions else self.images

    @property
    def words(self) -> str:
        return "positions projected out"


KNOWN: dict[str, type[DenoiserConfig]] = {
    "views": ViewsConfig,
    "refined_views": RefinedViewsConfig,
    "dvt": DvtConfig,
    "test_time_registers": TestTimeRegistersConfig,
    "position_subspace": PositionSubspaceConfig,
}
"""Every description by its method. A new one is added here, and what it does in `phreg/method/`."""


def parse_denoiser(data: Any, beside: Sequence[str] = ()) -> Any:
    """A description from plain data: a mapping with `method` and its options, or a method's name alone.

    `beside`: keys that stand among the options and were taken out. Raises pydantic's errors, which name every
    key that is no option of this method.
    """
    if isinstance(data, DenoiserConfig):
        return data
    if isinstance(data, str):
        data = {"method": data}
    if not isinstance(data, Mapping):
        raise PydanticCustomError("denoiser", "expected a method's name, or `method` and its options")
    method = data.get("method", "views")
    kind = KNOWN.get(method) if isinstance(method, str) else None
    if kind is None:
        unknown = PydanticCustomError("unknown_method", f"expected one of {', '.join(KNOWN)}")
        raise _mistakes([InitErrorDetails(type=unknown, loc=("method",), input=method)])
    wrong = [str(key) for key in data if key not in kind.model_fields]
    if wrong:
        raise _mistakes([_misplaced(key, method, [*kind.model_fields, *beside]) for key in wrong])
    return kind.model_validate(dict(data))


def _misplaced(key: str, method: str, known: Sequence[str]) -> InitErrorDetails:
    owners = [name for name, kind in KNOWN.items() if key in kind.model_fields]
    near = difflib.get_close_matches(key[:100], known, 1)
    if owners:
        said = f"an option of method: {' and '.join(owners)}; this is method: {method}"
    else:
        said = "unknown key; " + (f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}")
    return InitErrorDetails(type=PydanticCustomError(MISPLACED, said), loc=(key,), input=None)


def _mistakes(details: list[InitErrorDetails]) -> ValidationError:
    return ValidationError.from_exception_data("denoiser", details)
