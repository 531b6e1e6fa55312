"""The memories of an accelerator, in one place where a user can replace them."""

from collections.abc import Sequence

from amaranth.hdl import ShapeLike
from amaranth.lib import wiring

from ..abi.counters import COUNTER_SLOTS
from ..abi.descriptors import DESCRIPTOR_WORDS
from ..abi.layer_state import STATE_WORDS
from ..geometry import Geometry
from .banked_memory import BankedMemory
from .dual_port_memory import DualPortMemory
from .vector_memory import VectorMemory
from .weight_store import WeightStore

__all__ = ["COUNT_BITS", "Memories"]

COUNT_BITS = 32


class Memories:
    """Builds every memory of an accelerator.

    For the SRAM macros of an ASIC flow, derive from this class, override the methods of those
    memories that become macros, and give an instance to
    :class:`~bamac_hw.accelerator.Accelerator`. What a method returns must have the ports and the
    timing that the class named beside it documents.

    =================  =====================================================  ===================
    method             ports and timing of                                    words x bits
    =================  =====================================================  ===================
    ``weight_store``   :class:`~bamac_hw.memory.weight_store.WeightStore`     ``weight_rows /
                                                                              store_rows`` x ``8 *
                                                                              channels *
                                                                              store_rows``
    ``input_buffer``   :class:`~bamac_hw.memory.banked_memory.BankedMemory`   ``input_words`` x
                                                                              ``input_word_bits``
                                                                              per bank
    ``line_buffers``   the same                                               ``line_words`` x
                                                                              ``channels`` per bank
    ``vector``         :class:`~bamac_hw.memory.vector_memory.VectorMemory`   ``vector_words`` x
                                                                              ``vector_bits``
    ``descriptors``    :class:`~bamac_hw.memory.dual_port_memory.DualPortMemory`  16 x
                                                                              (``max_layers + 1``)
                                                                              x 32
    ``layer_state``    the same, four times                                   16 x see
                                                                              ``abi.layer_state``
    ``counters``       the same                                               32 x ``max_layers`` x
                                                                              32
    =================  =====================================================  ===================
    """

    def weight_store(self, geometry: Geometry, *, init: Sequence[int] = ()) -> wiring.Component:
        """Weights and start values; ``init`` are its first words."""
        return WeightStore(geometry, init=init)

    def input_buffer(self, geometry: Geometry) -> wiring.Component:
        """Values of frames."""
        g = geometry
        return BankedMemory(banks=g.pixels, width=g.input_word_bits, depth=g.input_words,
                            address_bits=g.address_bits)

    def line_buffers(self, geometry: Geometry) -> wiring.Component:
        """Rows of maps."""
        g = geometry
        return BankedMemory(banks=g.pixels, width=g.channels, depth=g.line_words,
                            address_bits=g.address_bits)

    def vector(self, geometry: Geometry) -> wiring.Component:
        """Vectors of the head."""
        return VectorMemory(geometry)

    def descriptors(self, geometry: Geometry, *, init: Sequence[int] = ()) -> wiring.Component:
        """The program's header and layer descriptors; ``init`` are its first words."""
        return DualPortMemory(shape=32, depth=(geometry.max_layers + 1) * DESCRIPTOR_WORDS,
                              init=init)

    def layer_state(self, geometry: Geometry, shape: ShapeLike) -> wiring.Component:
        """One of the scheduler's memories of what it keeps between a layer's jobs.

        Block RAM: as many registers and LUTs in its place would cost more.
        """
        return DualPortMemory(shape=shape, depth=STATE_WORDS, block=True)

    def counters(self, geometry: Geometry) -> wiring.Component:
        """Performance counters."""
        return DualPortMemory(shape=COUNT_BITS, depth=geometry.max_layers * COUNTER_SLOTS)
