"""Passes to native layers: the array's network computes what the author's does, layer by layer."""

import numpy as np
import pytest

from bamac.compiler import CompileError, compile_network, lower_for
from bamac.ir import reference
from bamac.ir.network import Conv2d, Dense, InputSpec, IntegerNetwork
from bamac.ir.random_graphs import random_graph
from bamac.verify import compare
from bamac_hw.abi.frames import Arrangement
from bamac_hw.geometry import Geometry
from bamac_hw.program import Program
from bamac_sim.simulate import Job, simulate_many

GENERAL = Geometry.preset("general")
RNG = np.random.default_rng(0)


def conv(name, outputs, inputs, kernel=(1, 1), thresholds=0, **options):
    weights = np.random.default_rng(len(name)).integers(-9, 10, (outputs, inputs, *kernel))
    return Conv2d(name, weights, np.full(outputs, thresholds), **options)


def dense(name, outputs, inputs, **options):
    rng = np.random.default_rng(inputs)
    return Dense(name, rng.integers(-9, 10, (outputs, inputs)), rng.integers(-9, 10, outputs),
                 **options)


def check(network, geometry, clips=3):
    """Every layer of the array's network against its own; the array's network."""
    lowered = lower_for(network, geometry)
    assert list(lowered.counterparts) == [layer.name for layer in network.layers]
    spec = network.input
    for window in RNG.integers(spec.min, spec.max + 1, (clips, *spec.shape)):
        wanted = reference.run(network, window)
        found = reference.run(lowered.network, lowered.arrange(window))
        for name, counterpart in lowered.counterparts.items():
            values = counterpart.values(found.layers[counterpart.layer].arrays())
            for kind, array in wanted.layers[name].arrays().items():
                np.testing.assert_array_equal(values[kind], array, f"{network.name}, {name}")
        np.testing.assert_array_equal(found.outputs, wanted.outputs)
    compile_network(network, geometry)
    return lowered.network


@pytest.mark.parametrize("array", ["general", "small", "small_pair", "tiny"])
def test_random_networks_of_all_layers(array):
    geometry, refused = Geometry.preset(array), 0
    for seed in range(60):
        try:
            check(random_graph(seed).network, geometry, clips=1)
        except CompileError:
            refused += 1
    assert refused == 0 if array == "general" else refused < 35


def test_random_networks_on_the_hardware():
    cases = [random_graph(seed) for seed in range(24)]
    check_on_hardware(cases)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 2000, 100))
def test_a_thousand_random_networks_on_the_hardware(first):
    check_on_hardware([random_graph(seed) for seed in range(first, first + 100)])


def check_on_hardware(cases):
    programs = [compile_network(case.network, GENERAL) for case in cases]
    results = simulate_many([Job(program, case.frames)
                             for case, program in zip(cases, programs, strict=True)])
    for case, program, result in zip(cases, programs, results, strict=True):
        verified = compare(program, case.network, case.frames, result)
        assert verified.differences == [], case.name
        assert verified.values_equal and verified.counts_equal
        assert list(verified.traces[0].layers) == [layer.name for layer in case.network.layers]


def test_native_network_stays_as_it_is():
    network = IntegerNetwork("net", InputSpec(6, 6), [
        conv("a", 4, 1, (3, 3)), conv("b", 3, 4, global_pool="sum"), dense("c", 2, 3)])
    assert lower_for(network, GENERAL).network is network


def test_pool_above_the_tile_is_several():
    network = IntegerNetwork("net", InputSpec(19, 17), [
        conv("a", 4, 1, (3, 3), 20, pool=(8, 4)), conv("b", 3, 4, global_pool="sum"),
        dense("c", 2, 3)])
    native = check(network, Geometry.preset("small"))
    assert [(layer.name, layer.pool) for layer in native.convs] == [
        ("a", (2, 2)), ("a.pool2", (2, 2)), ("a.pool3", (2, 1)), ("b", (1, 1))]


@pytest.mark.parametrize("stride", [4, 8])
def test_stride_of_4_behind_the_first_layer_is_several(stride):
    network = IntegerNetwork("net", InputSpec(21, 18), [
        conv("a", 4, 1, (3, 3), 20),
        conv("b", 5, 4, (3, 3), stride=stride, padding=(1, 1, 1, 1), pool=(1, 2)),
        conv("c", 3, 5, global_pool="max"), dense("d", 2, 3)])
    native = check(network, Geometry.preset("small"))
    assert [layer.stride for layer in native.convs] == [(1, 1), *[(2, 2)] * (stride // 4 + 1),
                                                        (1, 1)]


@pytest.mark.parametrize("stride, padding, kernel", [
    ((3, 3), (2, 1, 0, 2), (4, 3)), ((1, 4), (0, 0, 3, 3), (2, 7)), ((2, 1), (1, 0, 1, 1), (3, 3))])
def test_any_stride_of_the_first_layer_by_channels_that_the_host_sends(stride, padding, kernel):
    network = IntegerNetwork("net", InputSpec(17, 14, 5, channels=2, zero_point=3), [
        conv("a", 4, 2, kernel, 20, stride=stride, padding=padding),
        conv("b", 3, 4, global_pool="sum"), dense("c", 2, 3)])
    native = check(network, Geometry.preset("small"))
    assert native.layers[0].stride == (1, 1) and native.layers[0].padding == (0, 0, 0, 0)
    assert native.input.channels == 2 * stride[0] * stride[1]


@pytest.mark.parametrize("emit", [{"emit": "bit"}, {"emit": "raw"}])
def test_vector_is_spread_over_the_tile(emit):
    layers = [dense("a", 5, 3 * 211, **emit)]
    if emit["emit"] == "bit":
        layers.append(dense("b", 2, 5))
    network = IntegerNetwork("net", InputSpec(1, 211, channels=3), layers)
    native = check(network, GENERAL)
    tile = GENERAL.tile_rows, GENERAL.tile_cols
    assert native.input.map_shape == (-(-633 // (tile[0] * tile[1])), *tile)


def test_flattened_map_on_an_array_without_map_heads():
    network = IntegerNetwork("net", InputSpec(6, 5), [
        conv("a", 3, 1, (3, 3), 20), dense("hidden", 6, 36, emit="bit"), dense("c", 2, 6)])
    native = check(network, Geometry.preset("small"))
    assert isinstance(native.layers[1], Conv2d) and native.layers[1].global_pool == "max"
    network = IntegerNetwork("net", InputSpec(6, 5), [conv("a", 3, 1, (3, 3), 20),
                                                      dense("c", 2, 36)])
    native = check(network, Geometry.preset("small"))
    assert [layer.name for layer in native.layers] == ["a", "c.flatten", "c"]


def test_padded_bipolar_map_with_large_weights_has_copies_and_a_constant_channel():
    big = np.random.default_rng(1).integers(100, 128, (3, 4, 3, 3))
    network = IntegerNetwork("net", InputSpec(6, 6), [
        conv("a", 4, 1, low=-1, step=2),
        Conv2d("b", big, np.full(3, 77), padding=(1, 1, 1, 1), global_pool="sum"),
        dense("c", 2, 3)])
    native = check(network, GENERAL)
    # Weights of 2 w need two copies of each channel, and -sum(w) of a tap four of the constant one
    assert native.layers[0].out_channels == 4 * 2 + 4
    assert (native.layers[0].weights[-4:] == 0).all()


def test_unpadded_bipolar_map_needs_no_more_channels():
    network = IntegerNetwork("net", InputSpec(6, 6), [
        conv("a", 4, 1, low=-1, step=2), conv("b", 3, 4, (3, 3), global_pool="sum"),
        dense("c", 2, 3)])
    native = check(network, GENERAL)
    assert native.layers[0].out_channels == 4
    np.testing.assert_array_equal(native.layers[1].weights, network.layers[1].weights)


def test_depthwise_layer_stays_so_where_the_array_has_it():
    depthwise = Conv2d("b", np.ones((4, 1, 3, 3), int), np.full(4, 2), groups=4,
                       padding=(1, 1, 1, 1))
    network = IntegerNetwork("net", InputSpec(6, 6), [
        conv("a", 4, 1), depthwise, conv("c", 3, 4, global_pool="sum"), dense("d", 2, 3)])
    assert check(network, GENERAL).layers[1].groups == 4
    assert check(network, Geometry.preset("small")).layers[1].groups == 1
    # With a shortcut past it, the skipped channels are depthwise too
    network = IntegerNetwork("net", InputSpec(6, 6), [
        conv("a", 4, 1), depthwise, conv("c", 3, 8, global_pool="sum"), dense("d", 2, 3)],
        inputs={"c": ("b", "a")})
    native = check(network, GENERAL)
    assert native.is_chain and native.layers[1].out_channels == 8


def test_shortcut_travels_as_identity_channels():
    weights = np.concatenate([np.eye(4, dtype=int) * 3, np.eye(4, dtype=int) * 127], axis=1)
    network = IntegerNetwork("net", InputSpec(7, 6), [
        conv("a", 4, 1, (3, 3), 20), conv("b", 4, 4, (3, 3), padding=(1, 1, 1, 1)),
        Conv2d("add", weights[:, :, None, None], np.full(4, 130)),
        conv("c", 3, 4, global_pool="max"), dense("d", 2, 3)], inputs={"add": ("b", "a")})
    native = check(network, Geometry.preset("small"))
    assert [layer.out_channels for layer in native.layers] == [4, 8, 4, 3, 2]


def test_skipped_bit_with_a_weight_beyond_int8_is_copied():
    eye = np.eye(4, dtype=int)
    weights = np.concatenate([eye * 50, eye * 127, eye * 127, eye * 69], axis=1)
    network = IntegerNetwork("net", InputSpec(7, 6), [
        conv("a", 4, 1, (3, 3), 20), conv("b", 4, 4, (3, 3), padding=(1, 1, 1, 1)),
        Conv2d("add", weights[:, :, None, None], np.full(4, 330)),
        conv("c", 3, 4, global_pool="max"), dense("d", 2, 3)], inputs={"add": ("b", "a", "a", "a")})
    native = check(network, Geometry.preset("small"))
    # 127 + 127 + 69 = 323 of the skipped bit, in three copies of its channel
    assert native.layers[1].out_channels == 4 + 3 * 4


def test_branches_of_one_form_are_computed_at_once():
    network = IntegerNetwork("net", InputSpec(9, 8), [
        conv("a", 4, 1, (3, 3), 20),
        conv("wide", 3, 4, (3, 3), stride=2, padding=(1, 1, 1, 1)),
        conv("shortcut", 2, 4, stride=2),
        conv("c", 3, 5, global_pool="max"), dense("d", 2, 3)],
        inputs={"shortcut": ("a",), "c": ("wide", "shortcut")})
    native = check(network, Geometry.preset("small"))
    assert [layer.name for layer in native.layers] == ["a", "wide+shortcut", "c", "d"]
    assert native.layers[1].kernel == (3, 3)


@pytest.mark.parametrize("layers, inputs, message", [
    ([conv("a", 4, 1), conv("b", 4, 4, pool=(2, 2)), conv("c", 4, 4, stride=2),
      conv("e", 3, 8, global_pool="max"), dense("f", 2, 3)],
     {"c": ("a",), "e": ("b", "c")},
     "b: it changes the size of the map, and c still reads a as it was; the array holds maps of "
     "one size at a time: give both branches the same stride and pool, or change the size before "
     "they part"),
    ([conv("a", 4, 1), conv("c", 2, 5, global_pool="max"), dense("f", 2, 2)],
     {"c": ("a", "frames")},
     "a: frames is read again behind it, and travels as 255 bits for each channel, more than 15; "
     "quantise the shortcut to at most 4 bits"),
])
def test_branches_that_cannot_become_a_chain_are_refused(layers, inputs, message):
    with pytest.raises(CompileError) as error:
        compile_network(IntegerNetwork("net", InputSpec(8, 8), layers, inputs=inputs), GENERAL)
    assert str(error.value) == message


def test_frames_of_few_bits_travel():
    network = IntegerNetwork("net", InputSpec(6, 5, 3), [
        conv("a", 4, 1, (3, 3), padding=(1, 1, 1, 1)), conv("c", 2, 5, global_pool="max"),
        dense("f", 2, 2)], inputs={"c": ("a", "frames")})
    assert check(network, GENERAL).layers[0].out_channels == 4 + 7


def test_weights_on_frames_read_twice_are_refused_beyond_int8():
    weights = np.array([[80, 3, 79, 4], [1, 2, 3, 4]])[:, :, None, None]
    network = IntegerNetwork("net", InputSpec(6, 5, channels=2), [
        Conv2d("a", weights, [3, 4], global_pool="max"), dense("f", 2, 2)],
        inputs={"a": ("frames", "frames")})
    with pytest.raises(CompileError) as error:
        compile_network(network, GENERAL)
    assert str(error.value) == (
        "a: its weights on the frames, added up, reach 159, more than 127; let it read the frames "
        "once, with weights of fewer bits")


def test_program_holds_the_arrangement(tmp_path):
    network = IntegerNetwork("net", InputSpec(1, 30, 4, zero_point=-2), [
        dense("a", 5, 30, emit="bit"), dense("b", 2, 5)])
    program = compile_network(network, Geometry.preset("small"))
    program.save(tmp_path / "program")
    loaded = Program.load(tmp_path / "program")
    assert loaded.arrangement == program.arrangement == Arrangement(
        "spread", (8, 2, 2), (1, 1, 30), -2)
    assert loaded.frame_shape == (1, 30) and loaded.sent_shape == (8, 2, 2)
    frames = np.arange(30).reshape(1, 1, 30) % 8
    sent = loaded.arrange(frames)
    np.testing.assert_array_equal(sent.reshape(-1)[:30], frames.reshape(-1))
    assert (sent.reshape(-1)[30:] == -2).all()
    # Row 0 holds positions 0 and 1 of every channel, one channel behind the other
    np.testing.assert_array_equal(loaded.stream(frames)[0, 0, :4], [0, 1, 4, 5])


def test_unknown_arrangement_is_refused():
    with pytest.raises(ValueError, match="^kind must be spread or phases, not 'mixed'$"):
        Arrangement("mixed", (1, 1, 1), (1, 1, 1))
