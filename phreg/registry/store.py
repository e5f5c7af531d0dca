"""Where a registry can be: in a store in which one of several writers of a name wins."""

from phreg.errors import PermanentStorageError
from phreg.storage import Creation, Folder


def check_store(folder: Folder) -> None:
    """Raise `PermanentStorageError` for a store in which two students could take one version."""
    if folder.creation is not Creation.EXCLUSIVE:
        raise PermanentStorageError(
            f"{folder.url} cannot hold a registry: two students could take one version there",
            expected="a store that keeps what is there when an object of that name is created: a local "
            "disk, AWS S3, MinIO, R2, Google Cloud Storage, Azure Blob Storage",
            found=f"when an object is there already, the store {folder.creation.value}",
            remedy="put the registry on such a store (`registry: URL` in the config); the rest may stay",
        )
