"""What a checkpoint's metadata says of its front end, written and read in this one place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bamac.ir.network import FrontEnd

from .log_mel import FRONT_END, OFFSET, STEPS

__all__ = ["front_end_of", "metadata_of"]


def front_end_of(metadata: Mapping[str, Any]) -> FrontEnd:
    """The front end that metadata names; where it names none, the paper's at 8 bits."""
    return FrontEnd(metadata.get("front_end", FRONT_END), metadata.get("offset", OFFSET),
                    metadata.get("steps", STEPS))


def metadata_of(front_end: FrontEnd) -> dict[str, Any]:
    """The keys that :func:`front_end_of` reads, with plain values."""
    return {"front_end": front_end.kind, "offset": front_end.offset, "steps": front_end.steps}
