"""Networks that ship with the package, by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

__all__ = ["ASSETS", "model_path", "shipped_models"]

ASSETS = Path(__file__).parent / "assets"
SUFFIXES = (".onnx", ".pt")
"""Kinds of model files, the one first that needs no torch."""


def shipped_models() -> list[str]:
    """Names of the networks that ship with the package; a model card stands beside each."""
    return sorted({path.stem for path in (ASSETS / "models").glob("*") if path.suffix in SUFFIXES})


def model_path(model: str | Path, suffixes: Sequence[str] = SUFFIXES) -> Path:
    """Path of a model: a file of that name, else what ships under it, else such a folder.

    Parameters
    ----------
    model : path, or a name as :func:`shipped_models` lists it
    suffixes : kinds of shipped files that will do, the best first

    Raises
    ------
    FileNotFoundError
        If there is neither.
    """
    path = Path(model)
    if path.is_file():
        return path
    for suffix in suffixes:
        shipped = ASSETS / "models" / f"{model}{suffix}"
        if path.name == str(model) and shipped.is_file():
            return shipped
    if path.exists():
        return path
    raise FileNotFoundError(f"Model {model} does not exist; make one with 'bamac train', or name "
                            f"one that ships with bamac: {', '.join(shipped_models())}")
