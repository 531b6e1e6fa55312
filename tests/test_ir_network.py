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
    (lambda: InputSpec(4, 4, channels=0), "Input must have at least one channel, not 0"),
    (lambda: InputSpec(4, 4, zero_point=128), "Input zero point must be in -128..127, not 128"),
    (lambda: InputSpec(4, 4, 8, False, narrow=True), "Only signed inputs have a narrow range"),
    (lambda: InputSpec(4, 4, bipolar=True),
     "A bipolar input must be of 2 bits, signed and narrow: -1 and +1"),
    (lambda: InputSpec(4, 4, scale=0.0), "Input scale must be positive, not 0.0"),
    (lambda: conv(kernel=(16, 3)), "conv1: kernel must span at most 15 x 15, not 16 x 3"),
    (lambda: conv(kernel=(3, 5), dilation=(1, 4)),
     "conv1: kernel must span at most 15 x 15, not 3 x 17"),
    (lambda: conv(stride=0),
     "conv1: stride must be a positive number, or two (rows, cols), not 0"),
    (lambda: conv(dilation=(1, 2, 3)),
     "conv1: dilation must be a positive number, or two (rows, cols), not (1, 2, 3)"),
    (lambda: conv(groups=3), "conv1: groups must divide the 2 output channels, not be 3"),
    (lambda: conv(step=0), "conv1: step must be positive, not 0"),
    (lambda: Conv2d("c", np.ones((1, 1, 1, 1), int), bias=np.zeros(1, int), low=-1),
     "c: low and step are of layers with thresholds"),
    (lambda: Conv2d("c", np.ones((1, 1, 1, 1), int), np.array([[3, 2]])),
     "c: thresholds of a channel must not fall"),
    (lambda: Conv2d("c", np.ones((1, 1, 1, 1), int), np.zeros((1, 256), int)),
     "c: thresholds must be 1..255 per channel, not 256"),
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
    (lambda: dense(emit="relu"),
     "dense1: emit must be 'raw', 'unsigned', 'bit' or 'levels', not 'relu'"),
    (lambda: dense(emit="levels"), "dense1: thresholds are of layers that emit levels"),
    (lambda: dense(low=-1), "dense1: low and step are of layers that emit levels"),
    (lambda: dense(bits=17), "dense1: bits must be in 1..16, not 17"),
    (lambda: dense(shift=32), "dense1: shift must be in 0..31, not 32"),
    (lambda: network(), "net: network must have at least one layer"),
    (lambda: network(conv()), "conv1: the last layer, and no other, must emit raw scores"),
    (lambda: network(conv("a"), dense("a")),
     "net: layer names must differ, and none be 'frames': ['a', 'a']"),
    (lambda: network(dense(inputs=48, emit="bit"), conv()),
     "conv1: a convolution must read a map, not a vector"),
    (lambda: network(conv(inputs=2), dense()), "conv1: expects 2 input channels, gets 1"),
    (lambda: network(conv(), dense(inputs=3)), "dense1: expects 3 inputs, gets 2"),
    (lambda: network(conv(pool=(9, 1)), dense()),
     "conv1: the map before it is too small for its kernel and pool"),
    (lambda: network(conv(global_pool=None), dense()),
     "dense1: expects 2 inputs, gets 96 (2 x 8 x 6)"),
    (lambda: network(conv(), dense(emit="bit")),
     "dense1: the last layer, and no other, must emit raw scores"),
    (lambda: network(conv(), dense(), score_scale=(1.0, 2.0)),
     "net: score_scale must be one number, or one per output (1), not 2"),
    (lambda: network(conv(), dense(), inputs={"dense2": ("conv1",)}),
     "net: no layer is called 'dense2'"),
    (lambda: network(conv(), dense(), inputs={"conv1": ("dense1",)}),
     "conv1: must read layers that stand before it, not dense1"),
    (lambda: network(conv(), dense(), inputs={"dense1": ()}),
     "dense1: must read layers that stand before it, not nothing"),
    (lambda: network(conv(), dense(inputs=48), inputs={"dense1": ("frames",)}),
     "net: no layer reads conv1"),
    (lambda: network(conv("a", global_pool=None), conv("b", global_pool=None, stride=2, inputs=2),
                     dense(), inputs={"dense1": ("a", "b")}),
     "dense1: the maps that it reads must have the same rows and columns, "
     "not (2, 8, 6), (2, 4, 3)"),
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
        network(conv(stride=(1, 2)), dense()), network(conv(dilation=2), dense()),
        network(conv(low=1), dense()),
        network(conv(step=2), dense()),
        network(Conv2d("conv1", np.ones((2, 1, 3, 3), int), np.zeros((2, 2), int), 1, (1, 1, 1, 1),
                       global_pool="max"), dense()),
        IntegerNetwork("net", InputSpec(8, 6, narrow=True), base.layers),
        IntegerNetwork("net", InputSpec(8, 6, zero_point=3), base.layers),
        IntegerNetwork("net", InputSpec(8, 6, scale=0.5), base.layers),
        network(conv(), dense(), rows=9), network(conv("x"), dense()),
        network(Conv2d("conv1", np.ones((2, 1, 3, 3), int), np.ones(2, int), 1, (1, 1, 1, 1),
                       global_pool="max"), dense()),
        network(conv(), Dense("dense1", np.ones((1, 2), int), np.ones(1, int))),
        network(conv(), Dense("dense1", -np.ones((1, 2), int), np.zeros(1, int)))]
    digests = {net.digest() for net in [base, *others]}
    assert len(digests) == len(others) + 1


def test_digest_sees_what_a_layer_reads():
    def joined(*sources):
        return network(conv("a", 1, global_pool=None), conv("b", 1, global_pool=None),
                       conv("c", inputs=3), dense(), inputs={"c": sources})
    assert joined("a", "b", "frames").digest() != joined("b", "a", "frames").digest()


def test_the_digest_of_a_plain_network_is_that_of_its_first_release():
    """Programs that were compiled before there were more fields name their network by it."""
    net = network(conv(), dense(), score_scale=0.25, front_end=FrontEnd("mel", 1.0, 2.0))
    assert net.digest().startswith("934c2b623891bed4")


def test_a_layer_may_read_several_others():
    net = network(conv("a", global_pool=None), conv("b", 3, 2, global_pool=None),
                  conv("c", 4, 6), dense(inputs=4), inputs={"c": ("a", "b", "frames"),
                                                            "b": ("a",)})
    assert net.inputs == {"c": ("a", "b", "frames")} and not net.is_chain
    before = dict((layer.name, before) for layer, before in net.steps())["c"]
    # Bits of a and b beside the frames' signed values
    assert before.shape == (6, 8, 6) and (before.low, before.high) == (-128, 127)


@pytest.mark.parametrize("options, values, wanted", [
    ({"scale": 0.5}, [0.25, 0.75, -0.3, 63.4, 1e9, -1e9], [0, 2, -1, 127, 127, -128]),
    ({"scale": 0.5, "narrow": True}, [-1e9], [-127]),
    ({"bits": 4, "signed": False, "zero_point": 3}, [-9, -2, 0, 1, 20], [0, 1, 3, 4, 15]),
    ({"bits": 2, "narrow": True, "bipolar": True}, [-0.1, 0.0, 7.0], [-1, 1, 1])])
def test_real_values_become_frames(options, values, wanted):
    assert InputSpec(1, len(wanted), **options).quantise([values]).tolist() == [wanted]
