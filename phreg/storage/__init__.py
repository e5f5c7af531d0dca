"""Whole objects at fsspec URLs: read, written, or created if absent.

Endpoints and credentials come from the environment (`AWS_*`, `FSSPEC_S3_*`) or from a folder's options;
neither appears in a message. Nothing is kept between calls, neither listings (a lookup must see what
others wrote) nor file systems (a forked child gets its own); only whether a store keeps what is there when
an object is created.
"""

from phreg.storage.creation import Creation
from phreg.storage.file_systems import local_path
from phreg.storage.folder import Folder, StoredObject
from phreg.storage.local import TEMPORARY_PREFIX
from phreg.storage.urls import glob_url, open_url, read_url, version_of

__all__ = [
    "TEMPORARY_PREFIX",
    "Creation",
    "Folder",
    "StoredObject",
    "glob_url",
    "local_path",
    "open_url",
    "read_url",
    "version_of",
]
