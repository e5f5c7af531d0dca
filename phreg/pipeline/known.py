"""What a run's models are, without loading them.

The teacher's identity comes from `prepare`; a student's or a registered version's is kept under the digests
that its record has of its files.
"""

import contextlib

from phreg.config.run import RunConfig
from phreg.distill.result import RESULT
from phreg.errors import ObjectNotFoundError, RegistryError
from phreg.evaluate import ModelIdentity, note_identity, noted_identity
from phreg.evaluate.identity import Digests
from phreg.fingerprint import digest_bytes
from phreg.models import Backbone
from phreg.pipeline.prepare import Prepared
from phreg.registry.entry import RECORD_FILE, EntryRecord
from phreg.storage import Folder
from phreg.storage.checksummed import from_checksummed_json

FOLDER = "models"
FILES, MAYBE = ("config.json", "model.safetensors"), ("connector.safetensors",)


def known_identity(config: RunConfig, prepared: Prepared, model_url: str | None) -> ModelIdentity | None:
    """Of the model in a folder, or of the teacher; None if it has to be loaded to be known."""
    if model_url is None:
        return prepared.teacher
    files = _recorded(model_url)
    return None if files is None else noted_identity(Folder(config.output) / FOLDER, files)


def note_loaded(config: RunConfig, model_url: str | None, model: Backbone) -> None:
    """Keep what a model is that was loaded from a folder."""
    if model_url is not None:
        folder = Folder(model_url)
        with contextlib.suppress(ObjectNotFoundError):  # weights in other files are not looked for
            there = [*FILES, *(name for name in MAYBE if folder.exists(name))]
            files = {name: digest_bytes(folder.read(name)) for name in there}
            note_identity(Folder(config.output) / FOLDER, files, ModelIdentity.of(model))


def _recorded(model_url: str) -> Digests | None:
    """Digests of a model's files, by the record of a registered version, or of a finished student."""
    folder = Folder(model_url)
    with contextlib.suppress(ObjectNotFoundError, RegistryError, KeyError):
        record = EntryRecord.from_bytes(folder.read(RECORD_FILE), folder.url_of(RECORD_FILE))
        return _chosen({name: stored.sha256 for name, stored in record.files.items()})
    student, _, name = folder.url.rstrip("/").rpartition("/")
    with contextlib.suppress(ObjectNotFoundError, ValueError, KeyError, TypeError):
        stored = from_checksummed_json(Folder(student).read(RESULT))["files"]
        return _chosen({path.removeprefix(f"{name}/"): str(digest) for path, digest in stored.items()})
    return None


def _chosen(digests: Digests) -> Digests:
    return {name: digests[name] for name in FILES} | {
        name: digests[name] for name in MAYBE if name in digests
    }
