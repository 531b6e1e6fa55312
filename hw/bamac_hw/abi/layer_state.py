"""What the scheduler keeps of every layer between its jobs: layouts, and how many bits they are.

The scheduler has a memory of 16 words for each of these layouts. Reports and cycle models count the
bits through :func:`layer_state_bits`, from the same layouts.
"""

from __future__ import annotations

from typing import Protocol

from amaranth import Shape, signed
from amaranth.lib import data

from .descriptors import AHEAD_BITS

__all__ = ["STATE_WORDS", "ahead_shape", "arrival_layout", "layer_state_bits",
           "layer_state_shapes", "output_state_layout", "walk_state_layout"]

STATE_WORDS = 16  # of each memory: one for each layer


class _HasAddresses(Protocol):
    @property
    def address_bits(self) -> int: ...
    @property
    def padding_bits(self) -> int: ...


def walk_state_layout(geometry: _HasAddresses) -> data.StructLayout:
    """Where a layer's next job reads.

    ``ahead`` is how many rows of the input map lie behind those that the next job reads, and
    ``above`` how many rows of padding above the map it begins with. ``slot`` is the ring slot of
    its first kernel row.
    """
    return data.StructLayout({
        "ahead": signed(AHEAD_BITS), "above": geometry.padding_bits, "slot": geometry.address_bits})


def output_state_layout(geometry: _HasAddresses) -> data.StructLayout:
    """Where the output of a layer's next job goes.

    ``out_left`` counts the rows that are not yet written, ``out_slot`` and ``out_low`` are the
    place of the next one. ``first`` marks the first job of a clip.
    """
    return data.StructLayout({
        "out_left": 16, "out_slot": geometry.address_bits, "out_low": 2, "first": 1})


def ahead_shape() -> Shape:
    """A copy of ``ahead`` for the search, which goes on while the job needs its own place."""
    return signed(AHEAD_BITS)


def arrival_layout() -> data.StructLayout:
    """Rows that are ``missing`` at a layer's input; ``none`` of a clip has arrived yet."""
    return data.StructLayout({"missing": signed(AHEAD_BITS), "none": 1})


def layer_state_shapes(geometry: _HasAddresses) -> dict[str, Shape | data.StructLayout]:
    """Shape of a word of each of the scheduler's state memories, by the memory's name."""
    return {"walks": walk_state_layout(geometry), "outputs": output_state_layout(geometry),
            "aheads": ahead_shape(), "arrivals": arrival_layout()}


def layer_state_bits(geometry: _HasAddresses) -> int:
    """Bits of state that the scheduler's memories hold for one layer."""
    return sum(Shape.cast(shape).width for shape in layer_state_shapes(geometry).values())
