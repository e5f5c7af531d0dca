"""The base of all config sections, and the types their fields share."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

ReadOut = Literal["standard", "value", "csa", "naclip", "qq"]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Place = Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
"""A path, a URL, or a model's name."""
Fraction = Annotated[float, Field(ge=0, le=1)]
PositiveFloat = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """Base of all sections: frozen, unknown keys refused, NaN and Inf refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
