"""Sizes beyond any geometry are refused by the compiler, not by a field that overflows."""

import numpy as np
import pytest

from bamac.compiler import CompileError, compile_network
from bamac.graph import Conv2d, Dense, InputSpec, IntegerNetwork
from bamac_hw.geometry import Geometry


def network(outputs=1, bias=0):
    conv = Conv2d("conv", np.ones((1, 1, 1, 1), int), np.array([1]), global_pool="max")
    dense = Dense("score", np.ones((outputs, 1), int), np.full(outputs, bias))
    return IntegerNetwork("net", InputSpec(2, 2), (conv, dense))


def test_more_outputs_than_the_header_can_count_are_refused():
    small = Geometry.preset("small")
    assert compile_network(network(4096), small).descriptors[0] >> 4 == 4095
    with pytest.raises(CompileError, match="^score: 4097 outputs are more than 4096$"):
        compile_network(network(4097), small)


def test_accumulators_that_no_geometry_has_are_not_advised():
    with pytest.raises(CompileError, match="need 21-bit .*, or a geometry with acc_bits = 21$"):
        compile_network(network(bias=1 << 19), Geometry.preset("small"))
    with pytest.raises(CompileError, match="need 42-bit .*; use smaller weights or inputs$"):
        compile_network(network(bias=1 << 40), Geometry.preset("small"))
