"""A weight store of more than 512 KiB: loaded through its own window, and used beyond that."""

import numpy as np
from layer_cases import LayerCase, check_case, convolve, simple_head

from bamac.compiler import compile_network
from bamac.ir.network import Conv2d, InputSpec, IntegerNetwork
from bamac_hw.geometry import Geometry
from bamac_sim.simulate import simulate


def test_weights_beyond_512_kib():
    rng = np.random.default_rng(8)
    frames = rng.integers(0, 4, (1, 8, 8)).astype(np.int16)
    bits, layers, expected = frames.astype(np.int64), [], {}
    for name, channels, size, pool in (("conv0", 64, 3, None), ("conv1", 200, 6, "max")):
        weights = rng.integers(-9, 10, (channels, len(bits), size, size))
        sums = convolve(bits, weights)
        thresholds = np.median(sums, axis=(1, 2)).astype(np.int64) + 1
        bits = (sums >= thresholds[:, None, None]).astype(np.uint8)
        layers.append(Conv2d(name, weights, thresholds, global_pool=pool))
        expected[name] = bits
    head, (expected["scores"],) = simple_head([bits.max(axis=(1, 2)).astype(np.int64)])
    network = IntegerNetwork("vast", InputSpec(8, 8, 2, False), (*layers, head))
    geometry = Geometry("vast", channels=64, weight_rows=16384)
    program = compile_network(network, geometry)
    assert program.weights.size > 1 << 19
    result = simulate(program, frames)
    assert check_case(LayerCase(network, frames, [expected]), program, result) > 2000
