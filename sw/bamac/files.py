"""Files: written whole or not at all, and digests of sources.

Every command writes through these helpers, so that an error or Ctrl-C leaves either what was
there before or the finished result, and never a part of it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["digest_of_sources", "new_file", "new_folder", "write_bytes", "write_text"]


def _mode(directory: bool) -> int:
    umask = os.umask(0)
    os.umask(umask)
    return (0o777 if directory else 0o666) & ~umask


@contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` when the block succeeds.

    The temporary name keeps the suffix of ``path``, because some writers choose the format by it.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"Output file must not be a folder: {path}")
    handle, name = tempfile.mkstemp(prefix=".bamac-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(_mode(directory=False))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; it takes the place of ``path`` on success.

    An older folder of that name is removed only after the new one is complete.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"Output folder must not be a file: {path}")
    temporary = Path(tempfile.mkdtemp(prefix=".bamac-", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(_mode(directory=True))
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=".bamac-old-", dir=path.parent))
            path.replace(old / path.name)
            temporary.replace(path)
            shutil.rmtree(old)
        else:
            temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def digest_of_sources(*paths: str | Path) -> str:
    """SHA-256 of the contents of Python files, and of all that are below folders."""
    files = [file for path in map(Path, paths)
             for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write ``content`` to ``path``, whole or not at all."""
    with new_file(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, content: str) -> None:
    """Write ``content`` to ``path`` as UTF-8, whole or not at all."""
    write_bytes(path, content.encode())
