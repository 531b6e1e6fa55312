"""Results of long tool runs, kept by the content of everything that went into them."""

import hashlib
import json
import os
from contextlib import contextmanager
from pathlib import Path

from bamac.files import new_folder

__all__ = ["Cache"]


class Cache:
    """A folder of results, one subfolder for each key.

    An entry is written under a temporary name and renamed when it is complete, so an interrupted
    run leaves nothing, and its finished steps are found again.

    Parameters
    ----------
    folder : path, optional
        Default: ``fpga`` in ``$BAMAC_CACHE`` or ``~/.cache/bamac``.
    """

    def __init__(self, folder=None):
        base = os.environ.get("BAMAC_CACHE", "~/.cache/bamac")
        self.folder = Path(folder) if folder else Path(base).expanduser() / "fpga"

    @staticmethod
    def key(*parts):
        """Digest of texts, numbers and plain mappings."""
        text = json.dumps(parts, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def find(self, kind, key):
        """Folder of a finished entry, or None."""
        folder = self.folder / f"{kind}-{key}"
        return folder if folder.is_dir() else None

    @contextmanager
    def add(self, kind, key):
        """Yield a temporary folder that becomes the entry when the block succeeds."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with new_folder(self.folder / f"{kind}-{key}") as temporary:
            yield temporary
