"""QONNX files read: round trips, graphs, metadata, and refusals of damaged files."""

import json

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_builder import SUPPORTED, Builder, after_step, assert_refused, before_step

from bamac.ir import random_networks
from bamac.ir.network import FrontEnd, GraphError, IntegerNetwork
from bamac.qonnx import exporter as qonnx_export
from bamac.qonnx import importer as qonnx_import
from bamac.qonnx import metadata

# --- Round trips and files


@pytest.mark.parametrize("seed", range(40))
def test_round_trip_of_random_networks(seed, tmp_path):
    network = random_networks.random_case(seed).network
    qonnx_export.export(network, tmp_path / "net.onnx")
    loaded = qonnx_import.load(tmp_path / "net.onnx")
    assert loaded.digest() == network.digest()
    assert loaded.name == network.name


def test_round_trip_of_corners_and_the_papers_shape(tmp_path):
    for case in [*random_networks.corner_cases(), random_networks.paper_network()]:
        qonnx_export.export(case.network, tmp_path / "net.onnx")
        assert qonnx_import.load(tmp_path / "net.onnx").digest() == case.network.digest(), case.name


@pytest.mark.parametrize("scale, offset", [
    (1.0, 3.0), (1.0, 0.1), (0.1, 0.0), (-0.3, 7.25), (2.0, -1e-9), (1 / 3, 1e6)])
def test_round_trip_keeps_score_and_front_end(scale, offset, tmp_path):
    base = random_networks.random_case(2).network
    network = IntegerNetwork("any name", base.input, base.layers, scale, offset,
                             FrontEnd("pesq-mel", -3.3, 8.1))
    qonnx_export.export(network, tmp_path / "net.onnx")
    loaded = qonnx_import.load(tmp_path / "net.onnx")
    assert loaded.digest() == network.digest()
    assert (loaded.score_scale, loaded.score_offset) == (scale, offset)
    assert loaded.front_end == network.front_end


def test_two_outputs_with_quantised_bias(tmp_path):
    b = Builder().start(2)
    b.node("GlobalMaxPool")
    b.node("Squeeze", b.constant([2, 3], np.int64))
    weights = b.weights((2, 2), 0.1)
    bias = b.quant(0.1, 32, source=b.constant([0.7, -1.2]))
    b.node("Gemm", weights, bias, transB=1)
    network = b.load(tmp_path)
    assert network.denses[-1].bias.tolist() == [7, -12]
    assert network.score_scale == np.float32(0.1)
    assert abs(network.score_offset) < 1e-6


def test_score_of_a_real_bias_is_kept(tmp_path):
    b = Builder().start(2)
    b.node("GlobalMaxPool")
    b.node("Flatten", axis=1)
    b.node("Gemm", b.weights((1, 2), 0.25), b.constant([3.3]), transB=1)
    network = b.load(tmp_path)
    total = network.denses[-1].bias[0] * network.score_scale + network.score_offset
    assert network.denses[-1].bias.tolist() == [13]
    assert total == float(np.float32(3.3))


@pytest.mark.parametrize("shape, shown", [
    ((1, 2, 7, 6), "1 x 2 x 7 x 6"), ((1, 7, 6), "1 x 7 x 6"), ((4, 1, 7, 6), "4 x 1 x 7 x 6"),
    ((1, 1, "time", 6), "1 x 1 x ? x 6")])
def test_input_shapes_are_refused(shape, shown, tmp_path):
    b = Builder().start(2).head(2)
    b.input_shape = shape
    with pytest.raises(GraphError) as error:
        b.load(tmp_path)
    assert str(error.value) == (f"{tmp_path / 'foreign.onnx'}: Input 'x' must be 1 x 1 x rows x "
                                f"cols of fixed size, not {shown}")


def test_free_batch_size_is_one_window(tmp_path):
    b = Builder().start(2).head(2)
    b.input_shape = ("batch", 1, 7, 6)
    assert (b.load(tmp_path).input.rows, b.load(tmp_path).input.cols) == (7, 6)


@pytest.mark.parametrize("content, reason", [
    (b"", "it holds no graph"), (b"hello, I am a text file\n", "Error parsing message"),
    (b"RIFF\x24\x00\x00\x00WAVEfmt ", "Error parsing message")])
def test_foreign_files_are_refused(content, reason, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(GraphError) as error:
        qonnx_import.load(path)
    assert str(error.value).startswith(f"{path}: not an ONNX model, or damaged ({reason}")


def test_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        qonnx_import.load(tmp_path / "none.onnx")


def test_damaged_files_are_refused_or_read_and_nothing_else(tmp_path):
    path = tmp_path / "net.onnx"
    qonnx_export.export(random_networks.random_case(7).network, path)
    content = path.read_bytes()
    rng = np.random.default_rng(2)
    refused = 0
    for i in range(400):
        damaged = bytearray(content)
        if i % 3 == 0:
            damaged = damaged[:rng.integers(len(damaged))]
        for _ in range(i % 3):
            damaged[rng.integers(len(damaged))] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            qonnx_import.load(path)
        except GraphError as error:
            assert str(error).startswith(f"{path}: ")
            assert "\n" not in str(error)
            refused += 1
    assert refused > 250


def test_a_checker_without_words_refuses_too(tmp_path, monkeypatch):
    def refuse(model):
        raise onnx.checker.ValidationError("")

    path = tmp_path / "net.onnx"
    qonnx_export.export(random_networks.random_case(7).network, path)
    monkeypatch.setattr(onnx.checker, "check_model", refuse)
    with pytest.raises(GraphError, match=r"net.onnx: not an ONNX model, or damaged \(Validation"):
        qonnx_import.load(path)


def test_every_truncation_is_refused(tmp_path):
    path = tmp_path / "net.onnx"
    qonnx_export.export(random_networks.random_case(2).network, path)
    content = path.read_bytes()
    for size in range(0, len(content), max(1, len(content) // 150)):
        path.write_bytes(content[:size])
        with pytest.raises(GraphError):
            qonnx_import.load(path)


def two_biases(b):
    b.node("GlobalMaxPool")
    b.node("Flatten", axis=1)
    b.node("Gemm", b.weights((2, 2), 0.1), b.constant([0.0, 0.04]), transB=1, name="score")


def two_scales(b):
    b.node("GlobalMaxPool")
    b.node("Flatten", axis=1)
    b.node("Gemm", b.weights((2, 2), [[0.1], [0.2]]), transB=1, name="score")


def final(op, **options):
    def change(b):
        b.head(2)
        b.node(op, name="end", **options)
    return change


FILE_REFUSALS = {
    "unsupported operation": (before_step(lambda b: b.node("Sigmoid", name="gate")),
        "Sigmoid node gate: operation is not supported; use " + ", ".join(SUPPORTED)),
    "padding without a convolution": (
        after_step(lambda b: b.node("Pad", b.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64))),
        "GlobalMaxPool node GlobalMaxPool_5: a convolution must directly follow the padding"),
    "biases between steps": (after_step(two_biases, finish=False),
        "score: biases must differ by whole steps of the scale 0.100000001: quantise the bias to "
        "the accumulator's scale"),
    "scales of the scores": (after_step(two_scales, finish=False),
        "score: scale of the scores must be one number other than 0, the same for all outputs"),
    "quantised scores": (
        after_step(lambda b: (b.head(2), b.quant(8.0, 4, 0, mode="FLOOR")), finish=False),
        "Output 't8' must be the unquantised result of a dense layer"),
    "ReLU on the scores": (after_step(final("Relu"), finish=False),
        "Relu node end: scores must be the last dense layer's plain result"),
    "sigmoid on the scores": (after_step(final("Sigmoid"), finish=False),
        "Sigmoid node end: operation is not supported; use " + ", ".join(SUPPORTED)),
    "operation of another domain": (
        before_step(lambda b: b.node("Relu", domain="my.ops", name="r")),
        "Relu node r: operation is not supported; use " + ", ".join(SUPPORTED)),
}


@pytest.mark.parametrize("what", FILE_REFUSALS)
def test_refusal_of_a_file(what, tmp_path):
    assert_refused(*FILE_REFUSALS[what], tmp_path)


# --- Graphs of another form


def test_two_inputs_are_refused(tmp_path):
    b = Builder().start(2).head(2)
    b.inputs.append("y")
    with pytest.raises(GraphError) as error:
        b.load(tmp_path)
    assert str(error.value) == (f"{tmp_path / 'foreign.onnx'}: Graph must have one input, not 2: "
                                "['x', 'y']")


def test_two_outputs_are_refused(tmp_path):
    b = Builder().start(2).head(2)
    with pytest.raises(GraphError) as error:
        b.load(tmp_path, outputs=["t3", b.tensor])
    assert str(error.value) == (f"{tmp_path / 'foreign.onnx'}: Graph must have one output, not 2: "
                                f"['t3', '{b.tensor}']")


def residual(b):
    b.node("Add", "t2", name="sum")


def branch(b):
    left = b.tensor
    b.node("Relu", name="left")
    b.nodes.append(helper.make_node("Relu", [left], ["right_out"], name="right"))


def _weight_zero_point():
    b = Builder()
    b.quant()
    weights = b.quant(zero=1.0, source=b.constant(np.ones((2, 1, 3, 3))), name="w")
    b.node("Conv", weights, name="c")
    b.step()
    return b.head(2)


GRAPH_REFUSALS = {
    "residual": (before_step(residual),
        "Tensor 't2' is read by sum twice: graph must be one chain, without branches"),
    "branch": (before_step(branch),
        "Tensor 't2' is read by left and right: graph must be one chain, without branches"),
    "weight zero point": (_weight_zero_point,
        "Quant node w: zero point must be 0, not 1: quantise symmetrically"),
}


@pytest.mark.parametrize("what", GRAPH_REFUSALS)
def test_refusal_of_a_graph(what, tmp_path):
    assert_refused(*GRAPH_REFUSALS[what], tmp_path)


# --- What a file says of the network beside the graph


def model_with(change):
    """A model of ours whose metadata, a dict, ``change`` has been at."""
    model = qonnx_export.model(random_networks.random_case(2).network)
    values = json.loads(model.metadata_props[0].value)
    changed = change(values)
    onnx.helper.set_model_props(model, {
        metadata.KEY: json.dumps(values) if changed is None else changed})
    return model


def test_metadata_of_a_foreign_file_is_none():
    model = qonnx_export.model(random_networks.random_case(2).network)
    onnx.helper.set_model_props(model, {"author": "someone"})
    assert metadata.read(model) is None
    assert qonnx_import.from_model(model, "given").name == "given"


def test_metadata_is_read_as_written():
    network = random_networks.random_case(2).network
    found = metadata.read(qonnx_export.model(network))
    assert found.name == network.name
    assert [(entry.name, entry.kind) for entry in found.layers] == [
        *((layer.name, "conv") for layer in network.convs),
        *((layer.name, "dense") for layer in network.denses)]
    assert [entry.shifted for entry in found.layers if entry.kind == "dense"] == [
        (layer.bits, layer.shift) for layer in network.denses]
    assert (found.score_scale, found.score_offset) == (network.score_scale, network.score_offset)
    assert found.front_end == network.front_end


@pytest.mark.parametrize("change, message", [
    (lambda values: values.update(schema=2), "Metadata schema must be 1, not 2"),
    (lambda values: values.pop("name") and None, "Metadata 'bamac.network' is damaged: 'name'"),
    (lambda values: values.update(score_scale="much"),
     "Metadata 'bamac.network' is damaged: could not convert string to float: 'much'"),
    (lambda values: "{", "Metadata 'bamac.network' is damaged: Expecting property name enclosed in "
                         "double quotes: line 1 column 2 (char 1)")])
def test_damaged_metadata_is_refused(change, message):
    with pytest.raises(GraphError) as error:
        metadata.read(model_with(change))
    assert str(error.value) == message


def test_names_of_other_layers_are_not_taken():
    model = model_with(lambda values: values.update(layers=[{"name": "other"}]))
    network = random_networks.random_case(2).network
    assert [layer.name for layer in qonnx_import.from_model(model).layers] == [
        layer.name for layer in network.layers]
