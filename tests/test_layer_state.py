# amaranth: UnusedElaboratable=no
"""The bits of layer state, against the scheduler's elaborated memories."""

import pytest
from amaranth import Shape

from bamac_hw.abi.layer_state import STATE_WORDS, layer_state_bits
from bamac_hw.control.scheduler import Scheduler
from bamac_hw.geometry import Geometry
from bamac_hw.memory.dual_port_memory import DualPortMemory


def memories(module):
    """The memories of an elaborated module, by name."""
    return {name: submodule for name, (submodule, _) in module._named_submodules.items()
            if isinstance(submodule, DualPortMemory)}


@pytest.mark.parametrize("name", Geometry.presets())
def test_state_bits_are_those_of_the_scheduler(name):
    geometry = Geometry.preset(name)
    found = memories(Scheduler(geometry).elaborate(None))
    found.pop("descriptors")

    assert {memory.depth for memory in found.values()} == {STATE_WORDS}
    assert layer_state_bits(geometry) == sum(
        Shape.cast(memory.shape).width for memory in found.values())


@pytest.mark.parametrize("name, bits", [("tiny", 94), ("small", 92), ("small_int8", 96)])
def test_state_bits_by_hand(name, bits):
    # 17 + 3 + a, 16 + a + 2 + 1, 17, 17 + 1, of addresses with a = 10, 9, 11 bits.
    assert layer_state_bits(Geometry.preset(name)) == bits
