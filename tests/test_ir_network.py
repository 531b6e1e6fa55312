import numpy as np
import pytest

from bamac.ir.network import Conv2d, Dense, FrontEnd, GraphError, InputSpec, IntegerNetwork


def conv(name="conv1", out=2, inputs=1, kernel=(3, 3), **options):
    options = {"padding": (1, 1, 1, 1), "global_pool": "max"} | options
    return Conv2d(name, np.ones((out, inputs, *kernel), int), np.zeros(out, int), **options)


def dense(name="dense1", out=1, inputs=2, **options):
    return Dense(name, np.ones((out, inputs), int), np.zeros(out, int), **options)


def network(*layers, rows=8, cols=6, **options):
    return IntegerNetwork("net", InputSpec(rows, cols), layers, **options)


@pytest.mark.parametrize("bits, signed, low, high", [
    (8, True, -128, 127), (8, False, 0, 255), (2, True, -2, 1), (1, False, 0, 1)])
def test_input_range(bits, signed, low, high):
    spec = InputSpec(1, 1, bits, signed)
    assert (spec.min, spec.max) == (low, high)


@pytest.mark.parametrize("build, message", [
    (lambda: InputSpec(0, 4), "Input must have at least one row and column, not 0 x 4"),
    (lambda: InputSpec(4, 4, 9), "Input bits must be in 2..8, not 9"),
    (lambda: InputSpec(4, 4, 1), "Input bits must be in 2..8, not 1"),
    (lambda: InputSpec(4, 4, 0, False), "Input bits must be in 1..8, not 0"),
    (lambda: conv(kernel=(8, 3)), "conv1: kernel must be at most 7 x 7, not 8 x 3"),
    (lambda: conv(stride=3), "conv1: stride must be 1 or 2, not 3"),
    (lambda: conv(padding=(3, 0, 0, 0)),
     "conv1: padding must be smaller than the kernel 3 x 3, not (3, 0, 0, 0)"),
    (lambda: conv(padding=(0, 0, -1, 0)),
     "conv1: padding must be four non-negative sizes, not (0, 0, -1, 0)"),
    (lambda: conv(pool=(0, 2)), "conv1: pool must be two positive sizes, not (0, 2)"),
    (lambda: conv(global_pool="mean"),
     "conv1: global pool must be None, 'max' or 'sum', not 'mean'"),
    (lambda: Conv2d("c", np.full((1, 1, 1, 1), 128), np.zeros(1, int)),
     "c: weights must be in -127..127, not 128..128"),
    (lambda: Conv2d("c", np.full((1, 1, 1, 1), -128), np.zeros(1, int)),
     "c: weights must be in -127..127, not -128..-128"),
    (lambda: Conv2d("c", np.ones((1, 1, 1, 1)), np.zeros(1, int)),
     "c: weights must be integers, not float64"),
    (lambda: Conv2d("c", np.ones((1, 1, 1), int), np.zeros(1, int)),
     "c: weights must have 4 dimensions, not shape (1, 1, 1)"),
    (lambda: Conv2d("c", np.ones((0, 1, 1, 1), int), np.zeros(0, int)),
     "c: weights must not be empty, not shape (0, 1, 1, 1)"),
    (lambda: Conv2d("c", np.ones((2, 1, 1, 1), int), np.zeros(3, int)),
     "c: thresholds must be one per output channel (2), not 3"),
    (lambda: Dense("d", np.ones((2, 3), int), np.zeros(1, int)),
     "d: bias must be one per output (2), not 1"),
    (lambda: dense(emit="relu"), "dense1: emit must be 'raw', 'unsigned' or 'bit', not 'relu'"),
    (lambda: dense(bits=17), "dense1: bits must be in 1..16, not 17"),
    (lambda: dense(shift=32), "dense1: shift must be in 0..31, not 32"),
    (lambda: network(conv()),
     "net: network must have at least one convolution and one dense layer"),
    (lambda: network(dense()),
     "net: network must have at least one convolution and one dense layer"),
    (lambda: network(conv("a"), dense("a")), "net: layer names must differ: ['a', 'a']"),
    (lambda: network(dense(emit="bit"), conv()),
     "net: every convolution must come before the first dense layer"),
    (lambda: network(conv(inputs=2), dense()), "conv1: expects 2 input channels, gets 1"),
    (lambda: network(conv(), dense(inputs=3)), "dense1: expects 3 inputs, gets 2"),
    (lambda: network(conv(pool=(9, 1)), dense()),
     "conv1: the map before it is too small for its kernel and pool"),
    (lambda: network(conv(global_pool=None), dense()),
     "conv1: the last convolution, and no other, must end in a global pool"),
    (lambda: network(conv(), dense(emit="bit")),
     "dense1: the last dense layer, and no other, must emit raw scores"),
])
def test_refusal(build, message):
    with pytest.raises(GraphError) as error:
        build()
    assert str(error.value) == message


def test_shapes_and_vector_bits():
    net = network(conv("a", 3, stride=2, pool=(2, 1), global_pool=None),
                  conv("b", 5, 3, (2, 2), padding=(1, 0, 0, 0), global_pool="sum"),
                  dense("c", 4, 5, emit="unsigned", bits=6), dense("d", 3, 4, emit="bit"),
                  dense("e", 1, 3), rows=16, cols=9)
    # a: (16 + 2 - 3) // 2 + 1 = 8 rows, (9 + 2 - 3) // 2 + 1 = 5 columns, pooled to 4 x 5
    assert net.map_shapes() == [(1, 16, 9), (3, 4, 5), (5, 4, 4)]
    # 16 positions: a count of 0..16 takes 5 bits
    assert net.vector_bits() == [5, 6, 1]


def test_arrays_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        conv().weights[0] = 2


def test_digest_sees_every_field_but_the_name():
    base = network(conv(), dense())
    assert base.digest() == IntegerNetwork("other", base.input, base.layers).digest()
    others = [
        network(conv(pool=(2, 2)), dense()), network(conv(global_pool="sum"), dense()),
        network(conv(padding=(1, 1, 1, 0)), dense()), network(conv(), dense(shift=1)),
        network(conv(), dense(), score_scale=2.0), network(conv(), dense(), score_offset=1.0),
        network(conv(), dense(), front_end=FrontEnd("mel", 1.0, 2.0)),
        network(conv(), dense(), rows=9), network(conv("x"), dense()),
        network(Conv2d("conv1", np.ones((2, 1, 3, 3), int), np.ones(2, int), 1, (1, 1, 1, 1),
                       global_pool="max"), dense()),
        network(conv(), Dense("dense1", np.ones((1, 2), int), np.ones(1, int))),
        network(conv(), Dense("dense1", -np.ones((1, 2), int), np.zeros(1, int)))]
    digests = {net.digest() for net in [base, *others]}
    assert len(digests) == len(others) + 1
