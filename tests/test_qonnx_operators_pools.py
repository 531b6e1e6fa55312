"""Max pools and global pools."""

import numpy as np
import pytest
from onnx_builder import Builder, after_step, assert_refused, before_step, executed

from bamac.ir import reference


def test_two_pools_become_one(tmp_path):
    b = Builder(15, 14)
    b.quant()
    b.conv(2, 1)
    b.pool(2, 3)
    b.step()
    b.pool(3, 2)
    network = b.head(2).load(tmp_path)
    assert network.convs[0].pool == (6, 6)
    frames = np.random.default_rng(3).integers(-128, 128, (15, 14))
    np.testing.assert_array_equal(reference.run(network, frames).scores,
                                  executed(b.model(), frames)[b.tensor][0])


def _pooled_input():
    b = Builder()
    b.quant()
    b.pool(name="p")
    b.conv(2, 1)
    b.step()
    return b.head(2)


def _pool_with_indices(b):
    b.pool(name="p")
    b.nodes[-1].output.append("indices")


REFUSALS = {
    "overlapping pool": (after_step(lambda b: b.pool(3, 3, strides=[2, 2], name="p")),
        "MaxPool node p: stride must equal the pool's size [3, 3], not [2, 2]: windows must not "
        "overlap or leave gaps"),
    "pool of one axis": (after_step(lambda b: b.pool(kernel_shape=[2], strides=[2], name="p")),
        "MaxPool node p: kernel_shape must be two sizes, not [2]"),
    "indices of a pool": (after_step(_pool_with_indices),
        "MaxPool node p: indices cannot be given out"),
    "pool of negative bits": (
        after_step(lambda b: (b.node("Mul", b.constant(-2.0)), b.pool(name="p"))),
        "MaxPool node p: activations must have a positive scale before a max pool, not -2"),
    "padded pool": (after_step(lambda b: b.pool(pads=[1, 0, 0, 0], name="p")),
        "MaxPool node p: padding and dilation of a pool are not supported"),
    "pool in ceil mode": (after_step(lambda b: b.pool(ceil_mode=1, name="p")),
        "MaxPool node p: ceil_mode must be 0 where the pool does not divide the map"),
    "pool larger than the map": (after_step(lambda b: b.pool(8, 1, name="p")),
        "MaxPool node p: pool 8 x 1 must fit the map of 7 x 6"),
    "pool of the input": (_pooled_input,
        "MaxPool node p: a pool must follow a convolution"),
    "sum before the step": (
        before_step(lambda b: b.node("ReduceSum", b.constant([2, 3], np.int64), name="s")),
        "ReduceSum node s: a global sum or average must follow the Quant of the map"),
    "sum of channels": (
        after_step(lambda b: b.node("ReduceSum", b.constant([1], np.int64), name="s")),
        "ReduceSum node s: axes must be rows and columns, [2, 3], not [1]"),
    "two global pools": (after_step(lambda b: b.node("GlobalMaxPool")),
        "GlobalMaxPool node GlobalMaxPool_5: the map is pooled globally already"),
    "average pool of a part": (
        after_step(lambda b: b.node("AveragePool", kernel_shape=[2, 2], name="a")),
        "AveragePool node a: average pool must be over the whole map"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_refusal(what, tmp_path):
    assert_refused(*REFUSALS[what], tmp_path)
