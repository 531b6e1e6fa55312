"""Sizes beyond any geometry are refused by the compiler, not by a field that overflows."""

import numpy as np
import pytest

from bamac.compiler import CompileError, compile_network
from bamac.ir.network import Conv2d, Dense, InputSpec, IntegerNetwork
from bamac_hw.geometry import Geometry


def network(outputs=1, bias=0):
    conv = Conv2d("conv", np.ones((1, 1, 1, 1), int), np.array([1]), global_pool="max")
    dense = Dense("score", np.ones((outputs, 1), int), np.full(outputs, bias))
    return IntegerNetwork("net", InputSpec(2, 2), (conv, dense))


def test_more_outputs_than_the_header_can_count_are_refused():
    small = Geometry.preset("small")
    assert compile_network(network(4096), small).descriptors[0] >> 4 & 0xFFF == 4095
    with pytest.raises(CompileError, match="^score: 4097 outputs are more than 4096$"):
        compile_network(network(4097), small)


def test_accumulators_that_no_geometry_has_are_not_advised():
    with pytest.raises(CompileError, match="need 21-bit .*, or a geometry with acc_bits = 21$"):
        compile_network(network(bias=1 << 19), Geometry.preset("small"))
    with pytest.raises(CompileError, match="need 42-bit .*; use smaller weights or inputs$"):
        compile_network(network(bias=1 << 40), Geometry.preset("small"))


def test_pair_lanes_hold_the_sums_without_their_start_value():
    """Planes are added from the top, and the start value only before the last two of them."""
    conv = Conv2d("conv", np.ones((40, 1, 1, 1), int), np.ones(40, int), global_pool="max")
    hidden = Dense("hidden", np.ones((40, 40), int), np.zeros(40, int), "unsigned", 8)
    # Sums of 0..127 * 40 * 255 = 1,295,400 from -700,000 on fit 21 bits; from 0 on they do not.
    score = Dense("score", np.full((1, 40), 127), np.array([-700_000]))
    net = IntegerNetwork("net", InputSpec(2, 2), (conv, hidden, score))
    compile_network(net, Geometry("gated", acc_bits=21))
    compile_network(net, Geometry("pair", acc_bits=22, lane="pair"))
    reach = r"^score: sums reach -700000\.\.1295400 and need 22-bit"
    with pytest.raises(CompileError, match=reach):
        compile_network(net, Geometry("pair", acc_bits=21, lane="pair"))


def deep_network(convs=1, denses=1, channels=2, rows=8, cols=8):
    """1 x 1 convolutions and dense layers, so that only counts and sizes matter."""
    layers = [Conv2d(f"conv{n}", np.ones((channels, 1 if n == 0 else channels, 1, 1), int),
                     np.ones(channels, int), global_pool="max" if n == convs - 1 else None)
              for n in range(convs)]
    layers += [Dense(f"dense{n}", np.ones((channels, channels), int), np.zeros(channels, int),
                     "raw" if n == denses - 1 else "bit") for n in range(denses)]
    return IntegerNetwork("net", InputSpec(rows, cols), layers)


@pytest.mark.parametrize("sizes, network, message", [
    # 9 columns, two to a group: 5 words; a slot is two rows, all that a job needs.
    ({"input_words": 4}, {"cols": 9},
     "net: 5 words per bank of the input buffer do not fit array quad, which has 4; "
     "preset tiny fits"),
    ({"line_words": 7}, {"convs": 3},
     "net: 8 words per bank of the line buffers do not fit array quad, which has 7; "
     "preset tiny fits"),
    ({"vector_words": 5}, {"denses": 3},
     "net: 6 words of the head do not fit array quad, whose vector memory has 5; "
     "preset tiny fits"),
    ({"max_layers": 4}, {"convs": 2, "denses": 3},
     "net: 5 layers do not fit array quad, which has descriptors for 4; preset tiny fits"),
    ({"weight_rows": 16}, {"convs": 1, "denses": 3},
     # Start bytes and taps: 3 + 1, then three times 3 + 2.
     "net: 19 weight rows of 4 bytes do not fit array quad, which has 16; preset tiny fits"),
    ({}, {"convs": 10, "denses": 6},
     "net: 16 layers do not fit array quad, which has descriptors for 15; no preset fits; "
     "describe a larger array in a .toml file"),
])
def test_each_memory_is_refused_with_the_size_needed(sizes, network, message):
    quad = Geometry("quad", **{"channels": 4, "weight_rows": 128} | sizes)
    with pytest.raises(CompileError) as error:
        compile_network(deep_network(**network), quad)
    assert str(error.value) == message


def test_a_memory_that_is_just_large_enough_will_do():
    quad = Geometry("quad", channels=4, weight_rows=29, input_words=4, line_words=8,
                    vector_words=6, max_layers=6)
    program = compile_network(deep_network(convs=3, denses=3), quad)
    # Start bytes and taps: 3 + 1, two times 3 + 2 bits, three times 3 + 2 inputs.
    assert len(program.weights) == 4 + 2 * 5 + 3 * 5
