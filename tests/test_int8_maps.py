"""Networks with 8-bit maps: reference, QONNX and the quantisation of a trained network."""

import numpy as np
import pytest

from bamac import load
from bamac.compiler import CompileError, compile_network
from bamac.ir import reference
from bamac.ir.network import Conv2d, Dense, GraphError, InputSpec, IntegerNetwork
from bamac.ir.random_networks import random_case
from bamac.perf.cycles import predict, predict_events
from bamac.qonnx import exporter as qonnx_export
from bamac.qonnx import importer as qonnx_import
from bamac.qonnx import oracle as qonnx_oracle
from bamac.shipped import ASSETS
from bamac_hw.geometry import Geometry

MODEL = ASSETS / "models" / "paper-fp32.pt"


def naive(network, frames):
    """The definition in Python's own integers: (name, map before pooling or outputs)."""
    values = frames[None].astype(int)
    for conv in network.convs:
        top, bottom, left, right = conv.padding
        padded = np.pad(values, ((0, 0), (top, bottom), (left, right))).tolist()
        rows, cols = conv.conv_shape(*values.shape[1:])
        (height, width), step = conv.kernel, conv.strides[0]
        weights, bias = conv.weights.tolist(), conv.bias.tolist()
        out = np.array([[[min(max((bias[o] + sum(
            weights[o][c][i][j] * padded[c][y * step + i][x * step + j]
            for c in range(conv.in_channels) for i in range(height) for j in range(width)))
            // 2**conv.shift, 0), 255) for x in range(cols)] for y in range(rows)]
            for o in range(conv.out_channels)])
        yield conv.name, out
        rows, cols = conv.pooled_shape(*values.shape[1:])
        ph, pw = conv.pool
        values = np.array([[[out[c, y * ph:(y + 1) * ph, x * pw:(x + 1) * pw].max()
                             for x in range(cols)] for y in range(rows)]
                           for c in range(conv.out_channels)])
    vector = [plane.max() if conv.global_pool == "max" else
              min(int(plane.sum()) // 2**conv.pool_shift, 255) for plane in values]
    for dense in network.denses:
        vector = [sum(w * v for w, v in zip(row, vector, strict=True)) + b
                  for row, b in zip(dense.weights.tolist(), dense.bias.tolist(), strict=True)]
        if dense.emit == "unsigned":
            vector = [min(max(s // 2**dense.shift, 0), 255) for s in vector]
        yield dense.name, np.array(vector)


@pytest.mark.parametrize("seed", range(6))
def test_reference_equals_the_definition(seed):
    case = random_case(seed, channels=(1, 2, 3, 5, 9), max_rows=12, max_cols=12, int8_maps=True)
    trace = reference.run(case.network, case.frames[0])
    seen = set()
    for name, expected in naive(case.network, case.frames[0]):
        layer = trace.layers[name]
        actual = layer.bits if hasattr(layer, "bits") else layer.outputs
        np.testing.assert_array_equal(actual, expected, err_msg=f"seed {seed}, layer {name}")
        seen |= set(np.unique(actual).tolist())
    assert len(seen) > 20, "values must differ"


@pytest.mark.parametrize("seed", range(6))
def test_qonnx_computes_the_same_and_is_read_back(seed, tmp_path):
    case = random_case(seed, acc_bits=24, int8_maps=True)
    path = tmp_path / "net.onnx"
    qonnx_export.export(case.network, path)
    actual = qonnx_oracle.run(case.network, path, case.frames[0])
    expected = reference.run(case.network, case.frames[0])
    for conv in case.network.convs:
        np.testing.assert_array_equal(actual.bits[conv.name], expected.layers[conv.name].bits)
    for dense in case.network.denses:
        np.testing.assert_array_equal(actual.outputs[dense.name],
                                      expected.layers[dense.name].outputs)
    np.testing.assert_array_equal(actual.vector, expected.vector)
    assert qonnx_import.load(path).digest() == case.network.digest()


def conv(**changes):
    values = {"bias": np.array([0]), "global_pool": "sum"} | changes
    return Conv2d("conv", np.ones((1, 1, 1, 1), np.int64), **values)


@pytest.mark.parametrize("changes, message", [
    ({"thresholds": np.array([1])}, "conv: must have either thresholds (bits) or a bias (values)"),
    ({"bias": None}, "conv: must have either thresholds (bits) or a bias (values)"),
    ({"bias": np.array([1, 2])}, "conv: bias must be one per output channel (1), not 2"),
    ({"shift": 16}, "conv: shift must be in 0..15, not 16"),
    ({"pool_shift": -1}, "conv: pool_shift must be in 0..15, not -1"),
    ({"global_pool": "max", "pool_shift": 1}, "conv: pool_shift must be in 0..0, not 1"),
    ({"bias": None, "thresholds": np.array([1]), "shift": 1},
     "conv: shift must be in 0..0, not 1"),
])
def test_values_that_make_no_sense(changes, message):
    with pytest.raises(GraphError) as error:
        conv(**changes)
    assert str(error.value) == message


def test_bits_and_values_do_not_mix():
    first = Conv2d("first", np.ones((1, 1, 1, 1), np.int64), np.array([1]))
    score = Dense("score", np.ones((1, 1), np.int64), np.array([0]))
    network = IntegerNetwork("n", InputSpec(2, 2), (first, conv(), score))
    for preset in ("small", "small_int8"):
        with pytest.raises(CompileError, match="^n: the maps of all convolutions must be alike, "):
            compile_network(network, Geometry.preset(preset))


def test_a_sum_of_values_must_be_quantised(tmp_path):
    score = Dense("score", np.ones((1, 1), np.int64), np.array([0]))
    network = IntegerNetwork("n", InputSpec(2, 2), (conv(pool_shift=2), score))
    model = qonnx_export.model(network)
    floor = next(n for n in model.graph.node if n.output[0] == "conv/global_floor")
    model.graph.node.remove(floor)
    mul = next(n for n in model.graph.node if n.output[0] == "conv/global_q")
    mul.input[0] = floor.input[0]
    with pytest.raises(GraphError, match="a global sum of 8-bit values must be quantised to 8 bi"):
        qonnx_import.from_model(model)


def test_trained_network_in_eight_bits_keeps_its_scores(tmp_path):
    """Real clips, post-training quantisation of the shipped full-precision twin."""
    import torch

    from bamac.nn.checkpoint import load_network

    module, _ = load_network(MODEL)
    network = load.load_model(MODEL)
    assert network.int8_maps and network.name == "paper-int8"
    path = tmp_path / "paper-int8.onnx"
    qonnx_export.export(network, path)
    assert qonnx_import.load(path).digest() == network.digest()
    for clip in load.demo_clips():
        frames, _ = load.frames_of_clip(network.input, network.name, network.front_end, clip)
        with torch.no_grad():
            wanted = float(module(torch.from_numpy(frames[:1, None].astype(np.float32))))
        assert float(reference.run(network, frames[0]).scores[0]) == pytest.approx(wanted, abs=0.1)


@pytest.mark.parametrize("values, array, message", [
    (True, "small", "8-bit values, the lanes of array small take bits; compile for an array with "
                    "int8 lanes, such as small_int8"),
    (False, "small_dsp", "bits, the lanes of array small_dsp take 8-bit values; compile for an "
                         "array with gated or pair lanes, such as small"),
])
def test_arrays_refuse_the_other_kind_of_map(values, array, message):
    network = random_case(0, int8_maps=values, channels=(2,), pools=((1, 1),)).network
    with pytest.raises(CompileError) as error:
        compile_network(network, Geometry.preset(array))
    assert str(error.value) == f"conv1: its map holds {message}"


@pytest.mark.parametrize("changes, what", [
    ({"bits": 7}, "unsigned, 7 bits, shifted by 3"),
    ({"shift": 16}, "unsigned, 8 bits, shifted by 16"),
    ({"emit": "bit"}, "bit, 8 bits, shifted by 3"),
])
def test_int8_lanes_hand_on_bytes(changes, what):
    values = {"emit": "unsigned", "bits": 8, "shift": 3} | changes
    hidden = Dense("hidden", np.ones((1, 1), np.int64), np.array([0]), **values)
    score = Dense("score", np.ones((1, 1), np.int64), np.array([0]))
    network = IntegerNetwork("n", InputSpec(4, 4), (conv(), hidden, score))
    with pytest.raises(CompileError) as error:
        compile_network(network, Geometry.preset("small_int8"))
    assert str(error.value) == ("hidden: int8 lanes hand on unsigned values of 8 bits, shifted by "
                                f"at most 15, not {what}; requantise its outputs")


def test_sums_beyond_the_accumulators_are_refused():
    wide = Conv2d("wide", np.full((1, 1, 7, 7), 127), bias=np.array([0]), global_pool="max",
                  padding=(3, 3, 3, 3))
    score = Dense("score", np.ones((1, 1), np.int64), np.array([0]))
    network = IntegerNetwork("n", InputSpec(4, 4), (wide, score))
    with pytest.raises(CompileError, match=r"^wide: sums reach -796544..1586865 and need 22-bit "):
        compile_network(network, Geometry("narrow", acc_bits=20, lane="int8"))


def test_cycles_of_tiles_and_scores_by_hand():
    """Two passes of three tiles of a map, a global one, a hidden layer and two scores."""
    first = Conv2d("first", np.ones((9, 1, 1, 1), np.int64), bias=np.zeros(9, np.int64))
    last = Conv2d("last", np.ones((3, 9, 1, 1), np.int64), bias=np.zeros(3, np.int64),
                  global_pool="max")
    hidden = Dense("hidden", np.ones((3, 3), np.int64), np.zeros(3, np.int64), "unsigned", 8)
    score = Dense("score", np.ones((2, 3), np.int64), np.zeros(2, np.int64))
    network = IntegerNetwork("n", InputSpec(2, 6), (first, last, hidden, score))
    program = compile_network(network, Geometry("g", channels=8, weight_rows=256, acc_bits=24,
                                                line_words=64, lane="int8"))
    layers = predict(program)["layers"]
    # A tile of 8 words takes 8 cycles to be read, two of which are its end and the next one's
    # start; behind the last one of a pass 9 more for the load, and one for its start
    assert [layer["cycles_tile"] for layer in layers] == [
        2 * (3 * 2 + 2 * 6 + 17), 3 * 2 + 2 * 6 + 17, 2 + 17, 2]
    assert [layer["cycles_compute"] for layer in layers] == [2 * 3, 3 * 9, 3, 3]
    assert [layer["cycles_collect"] for layer in layers] == [0, 0, 0, 10 + 2 * 3]
    assert [layer["line_writes"] for layer in layers] == [12 * 9, 0, 0, 0]
    assert layers[1]["line_reads"] == 12 * 9


def test_event_counts_are_of_values_that_are_not_zero():
    network = IntegerNetwork("n", InputSpec(2, 2, 8, False), (
        Conv2d("conv", np.ones((1, 1, 1, 1), np.int64), bias=np.array([-1]), global_pool="sum"),
        Dense("score", np.ones((1, 1), np.int64), np.array([0]))))
    program = compile_network(network, Geometry.preset("small_int8"))
    frames = np.array([[0, 1], [255, 3]])
    assert predict_events(program, network, frames) == [3, 1]


def test_binary_checkpoints_have_no_such_form():
    from bamac.nn.checkpoint import load_network
    from bamac.nn.post_training import integerise_int8_maps

    module, _ = load_network()
    with pytest.raises(GraphError, match="must have ReLU maps .variant w8 or fp32. for 8-bit"):
        integerise_int8_maps(module, np.zeros((1, 249, 120), np.int64))
