"""The target spec: everything a target's value depends on. Its digest is the cache address."""

import json
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    StringConstraints,
    ValidationError,
    model_validator,
)

from phreg.config.denoisers import AnyDenoiser, DenoiserConfig, ViewsConfig
from phreg.config.model import Resize
from phreg.errors import SpecMismatchError
from phreg.fingerprint import canonical_json, digest_bytes

Encoding = Literal["float32", "float16", "bfloat16", "int8"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TeacherIdentity(_Frozen):
    """Which network made the targets: what it is made of and the digest of its weights, not where it lay."""

    architecture: str
    weights: Annotated[str, StringConstraints(min_length=1)]


class TargetSpec(_Frozen):
    """Equal specs mean equal targets. Batch size, device and number of actors are no part of it."""

    format_version: Literal[2] = 2
    teacher: TeacherIdentity
    read_out: str
    precision: str = Field(description="of the teacher's forward pass")
    image_size: PositiveInt = Field(description="side of a crop in pixels")
    grid_size: tuple[PositiveInt, PositiveInt] = Field(description="patches (rows, columns) of a crop")
    dim: PositiveInt = Field(description="channels of the features, C")
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    pos_embed_resize: Resize = Field("paper", description="of the teacher's absolute positions")
    min_crop: float
    crops_per_image: PositiveInt
    views: PositiveInt = Field(description="of a crop, as they are cached beside its features")
    max_shift: float
    denoiser: AnyDenoiser | None = Field(None, description="calibrated; none: `views`, the paper's")
    seed: int
    encoding: Encoding
    variance: bool = Field(False, description="stored beside the features")

    @property
    def digest(self) -> str:
        return digest_bytes(self.to_json())

    @property
    def denoised_by(self) -> DenoiserConfig:
        return self.denoiser or ViewsConfig(views=self.views, max_shift=self.max_shift)

    @property
    def patches(self) -> int:
        """Patches of a crop, P."""
        return self.grid_size[0] * self.grid_size[1]

    def to_json(self) -> bytes:
        """Canonical JSON: equal specs give equal bytes. What is as it always was is left out."""
        fields = self.model_dump(mode="json")
        if self.pos_embed_resize == "paper":
            del fields["pos_embed_resize"]
        if self.denoiser is None:
            del fields["denoiser"]
        if not self.variance:
            del fields["variance"]
        return canonical_json(fields)

    @model_validator(mode="after")
    def _one_spec_for_equal_targets(self) -> Self:
        """Views are said once; and a denoiser has seen its images."""
        denoiser = self.denoised_by
        if isinstance(self.denoiser, ViewsConfig):
            raise ValueError("views of the denoiser `views` stand in the spec itself")
        if (denoiser.view_count, denoiser.view_shift) != (self.views, self.max_shift):
            raise ValueError("the views are not those of the denoiser")
        if denoiser.calibration_images:
            raise ValueError("the denoiser is not calibrated")
        if self.variance and not denoiser.has_variance:
            raise ValueError("the denoiser has no variance")
        return self

    @classmethod
    def from_json(cls, data: bytes, digest: str, url: str) -> Self:
        """Read `spec.json`; `digest` names its folder. Raises `SpecMismatchError` if it was altered."""
        try:
            spec = cls.model_validate_json(data)
        except ValidationError as error:
            detail = error.errors()[0]
            where = ".".join(str(part) for part in detail["loc"])
            raise _altered(url, digest, f"{where or 'the file'}: {detail['msg']}") from None
        if spec.digest != digest or spec.to_json() != data:
            raise _altered(url, digest, f"content with digest {digest_bytes(data)}")
        return spec


def differing_fields(data: bytes, spec: TargetSpec) -> list[str]:
    """`field: ours here, theirs there` for each field of a `spec.json` that is not this spec's."""
    try:
        theirs: Any = json.loads(data)
    except ValueError:
        theirs = None
    if not isinstance(theirs, dict):
        return ["no JSON object"]
    ours = json.loads(spec.to_json())
    return [
        f"{name}: {_brief(theirs, name)} instead of {_brief(ours, name)}"
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name) or (name in ours) != (name in theirs)
    ]


def _brief(fields: dict[str, Any], name: str) -> str:
    return json.dumps(fields[name])[:120] if name in fields else "nothing"


def _altered(url: str, digest: str, found: str) -> SpecMismatchError:
    return SpecMismatchError(
        f"{url} is not the target spec that its folder is named after",
        expected=f"the spec with digest {digest}",
        found=found,
        remedy="run the config that made these targets again: it puts the file right and keeps the targets",
    )
