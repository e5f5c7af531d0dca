"""What a model's features depend on, as plain data: what was measured of it is found by that again.

It takes the model to tell it, but not the next time: it is kept under the digests of the files that the model
was loaded from, which records name.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from phreg.fingerprint import digest_json, digest_weights
from phreg.models import Backbone
from phreg.storage import Folder
from phreg.storage.checksummed import read_checksummed_json, to_checksummed_json

FORMAT_VERSION = 1  # raise it when the same files would be loaded as another model

Digests = Mapping[str, str]
"""SHA-256 of files, by name."""


class ModelIdentity(BaseModel):
    """`fields`: everything that the features depend on. `keeps_class_token`: whether there is one, in its
    teacher's space, which decides what can be measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fields: dict[str, Any]
    keeps_class_token: bool

    @classmethod
    def of(cls, backbone: Backbone) -> "ModelIdentity":
        fields = {
            "architecture": backbone.architecture,
            "weights": backbone.weights_digest(),
            "image_size": list(backbone.image_size),
            "read_out": backbone.read_out,
            "mean": backbone.mean.tolist(),
            "std": backbone.std.tolist(),
        }
        connector = backbone.connector
        if connector is not None:
            weights = digest_weights(connector.state_dict())
            fields["connector"] = {"weights": weights, "grid": list(connector.grid)}
        return cls(fields=fields, keeps_class_token=backbone.has_class_token and connector is None)

    def under(self, read_out: str) -> "ModelIdentity":
        """Of the same network under another read-out."""
        return self.model_copy(update={"fields": self.fields | {"read_out": read_out}})


def note_identity(folder: Folder, files: Digests, identity: ModelIdentity) -> None:
    """Keep what a model loaded from these files is."""
    folder.write(_path(files), to_checksummed_json(identity.model_dump(mode="json")))


def noted_identity(folder: Folder, files: Digests) -> ModelIdentity | None:
    """What was kept of these files; None if nothing was, or it is damaged."""
    stored = read_checksummed_json(folder, _path(files))
    try:
        return None if stored is None else ModelIdentity.model_validate(stored)
    except ValidationError:
        return None


def _path(files: Digests) -> str:
    return f"{digest_json({'format_version': FORMAT_VERSION, 'files': dict(files)})}.json"
