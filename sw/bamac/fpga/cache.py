"""Results of long tool runs, kept by the content of everything that went into them."""

import fcntl
import hashlib
import json
import os
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

    def get(self, kind, key, make):
        """Folder of an entry; what it holds is written by ``make(folder)`` if it is not there.

        Of several processes that want the same entry at a time, one makes it and the others wait.
        """
        entry = self.find(kind, key)
        if entry is not None:
            return entry
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / f".{kind}-{key}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.find(kind, key) is None:
                with new_folder(self.folder / f"{kind}-{key}") as temporary:
                    make(temporary)
        return self.find(kind, key)
