"""Place maps in the line buffers, as rings of rows, and vectors in the vector memory."""

from __future__ import annotations

from dataclasses import dataclass

from bamac_hw.abi.descriptors import Source
from bamac_hw.geometry import Geometry

from .errors import DoesNotFitError
from .schedule import ring_rows
from .walk import Walk, ceil_div

__all__ = ["Ring", "place_rings", "place_vectors"]


@dataclass(frozen=True)
class Ring:
    """Rows of one map, in slots of ``tile_rows`` rows.

    Parameters
    ----------
    base : address of the first slot
    slots, pitch : slots, and words of each bank from one to the next
    rows : rows of the map that fit
    word_bits : bits of a word
    """

    base: int
    slots: int
    pitch: int
    rows: int
    word_bits: int

    @property
    def end(self) -> int:
        """Address of the last slot."""
        return self.base + (self.slots - 1) * self.pitch

    @property
    def words(self) -> int:
        """Words of each bank."""
        return self.slots * self.pitch


def place_rings(name: str, walks: list[Walk], geometry: Geometry) -> dict[int, Ring]:
    """A ring for the input of each convolution; the first has room for frames to come.

    Raises
    ------
    DoesNotFitError
        If network ``name`` needs more words than the input buffer or the line buffers have.
    """
    rings = {0: _input_ring(name, walks[0], geometry)}
    base = 0
    for walk in walks[1:]:
        if walk.source != Source.LINE:
            break
        pitch = ceil_div(walk.cols, geometry.tile_cols) * walk.pixel_words
        slots = ceil_div(ring_rows(walks, walk.index), geometry.tile_rows)
        rings[walk.index] = Ring(base, slots, pitch, slots * geometry.tile_rows, geometry.channels)
        base += slots * pitch
    if base > geometry.line_words:
        raise DoesNotFitError(
            f"{name}: {base} words per bank of the line buffers do not fit array "
            f"{geometry.name}, which has {geometry.line_words}")
    return rings


def _input_ring(name: str, first: Walk, geometry: Geometry) -> Ring:
    pitch = ceil_div(first.cols, geometry.tile_cols) * first.words
    slots = ceil_div(first.span, geometry.tile_rows)
    ahead = slots + ceil_div(first.advance, geometry.tile_rows)
    if slots * pitch > geometry.input_words:
        raise DoesNotFitError(
            f"{name}: {slots * pitch} words per bank of the input buffer do not fit array "
            f"{geometry.name}, which has {geometry.input_words}")
    if ahead * pitch <= geometry.input_words:
        slots = ahead
    return Ring(0, slots, pitch, slots * geometry.tile_rows, geometry.input_word_bits)


def place_vectors(name: str, walks: list[Walk], geometry: Geometry) -> list[int]:
    """Address of each layer's input vector, and behind the last one the words in use.

    A layer that reads a map has the address of the first vector.

    Raises
    ------
    DoesNotFitError
        If network ``name`` needs more words than the vector memory has.
    """
    bases = [0]
    for walk in walks:
        bases.append(bases[-1] + (walk.words if walk.source == Source.VECTOR else 0))
    if bases[-1] > geometry.vector_words:
        raise DoesNotFitError(
            f"{name}: {bases[-1]} words of the head do not fit array {geometry.name}, "
            f"whose vector memory has {geometry.vector_words}")
    return bases
