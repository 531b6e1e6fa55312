import json

import numpy as np
import onnx
import pytest

from bamac.ir import random_networks, reference
from bamac.ir.network import Conv2d, Dense, FrontEnd, GraphError, InputSpec, IntegerNetwork
from bamac.qonnx import exporter as qonnx_export
from bamac.qonnx import oracle as qonnx_oracle


def assert_executor_agrees(case, path):
    network = case.network
    qonnx_export.export(network, path)
    for window in case.frames:
        expected = reference.run(network, window)
        actual = qonnx_oracle.run(network, path, window)
        for name, layer in expected.layers.items():
            if hasattr(layer, "bits"):
                np.testing.assert_array_equal(actual.bits[name], layer.bits,
                                              err_msg=f"{case.name}, layer {name}")
            else:
                np.testing.assert_array_equal(actual.outputs[name], layer.outputs,
                                              err_msg=f"{case.name}, layer {name}")
        np.testing.assert_array_equal(actual.vector, expected.vector)
        np.testing.assert_array_equal(actual.raw, expected.outputs)
        np.testing.assert_allclose(actual.scores, expected.scores, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", range(24))
def test_executor_equals_the_reference_on_random_networks(seed, tmp_path):
    assert_executor_agrees(random_networks.random_case(seed), tmp_path / "net.onnx")


@pytest.mark.parametrize("case", random_networks.corner_cases(), ids=lambda case: case.name)
def test_executor_equals_the_reference_on_corners(case, tmp_path):
    assert_executor_agrees(case, tmp_path / "net.onnx")


@pytest.mark.parametrize("global_pool", ["max", "sum"])
def test_executor_equals_the_reference_on_the_papers_shape(global_pool, tmp_path):
    case = random_networks.paper_network(global_pool=global_pool)
    assert_executor_agrees(case, tmp_path / "net.onnx")


def small(threshold=0, bias=0, weight=1, emit="unsigned", bits=4, shift=1, **options):
    conv = Conv2d("conv", np.full((1, 1, 1, 1), weight), np.array([threshold]), global_pool="sum")
    hidden = Dense("hidden", np.array([[3]]), np.array([bias]), emit, bits, shift)
    score = Dense("score", np.array([[1]]), np.array([0]))
    return IntegerNetwork("small", InputSpec(2, 3), (conv, hidden, score), **options)


def test_same_network_gives_the_same_bytes(tmp_path):
    for name in ("a.onnx", "b.onnx"):
        qonnx_export.export(random_networks.random_case(5).network, tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.onnx", "b.onnx"]


def test_file_is_valid_onnx_with_the_front_end_in_it():
    model = qonnx_export.model(small(front_end=FrontEnd("pesq-mel", -3.25, 8.5)))
    onnx.checker.check_model(model)
    metadata = json.loads({p.key: p.value for p in model.metadata_props}["bamac.network"])
    assert metadata["front_end"] == {"kind": "pesq-mel", "offset": -3.25, "steps": 8.5}
    assert [layer["name"] for layer in metadata["layers"]] == ["conv", "hidden", "score"]


def quant_attributes(model):
    return {node.output[0]: {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            for node in model.graph.node if node.op_type == "Quant"}


def test_bits_are_the_exact_heaviside():
    attributes = quant_attributes(qonnx_export.model(small()))
    assert attributes["conv/bits"] == {"signed": 0, "narrow": 0, "rounding_mode": b"CEIL"}
    assert attributes["hidden/floor"]["rounding_mode"] == b"FLOOR"
    assert attributes["conv/weights_q"]["narrow"] == 1


@pytest.mark.parametrize("change, message", [
    ({"threshold": 1 << 23},
     "conv: thresholds must stay below 2^23 for float32 to be exact, not reach 8388608"),
    ({"threshold": -(1 << 23)},
     "conv: thresholds must stay below 2^23 for float32 to be exact, not reach 8388608"),
    ({"bias": (1 << 24) - 3 * 7},
     "hidden: accumulators must stay below 2^24 for float32 to be exact, not reach 16777216"),
    ({"bias": 7 - (1 << 23), "emit": "bit"},
     "hidden: accumulators must stay below 2^23 for float32 to be exact, not reach 8388622"),
    ({"score_scale": 0.0}, "small: score_scale must be a float32 number, not 0.0"),
    ({"score_scale": 1e300}, "small: score_scale must be a float32 number, not 1e+300"),
    ({"score_offset": float("nan")}, "small: score_offset must be a float32 number, not nan"),
])
def test_networks_beyond_float32_are_refused(change, message, tmp_path):
    with pytest.raises(GraphError) as error:
        qonnx_export.export(small(**change), tmp_path / "net.onnx")
    assert str(error.value) == message
    assert list(tmp_path.iterdir()) == []


def test_largest_exact_network_is_taken_and_equal(tmp_path):
    # The sum of six bits takes three: 7 at most as far as ranges tell, 3 * 7 + bias = 2^24 - 1
    network = small(bias=(1 << 24) - 22, bits=16, shift=9)
    case = random_networks.Case("largest", network, np.full((1, 2, 3), 1, np.int16))
    assert_executor_agrees(case, tmp_path / "net.onnx")


def test_wide_accumulators_are_refused_by_layer():
    convs = [Conv2d("wide", np.full((1, 1, 7, 7), 127), np.array([0]), global_pool="sum")]
    net = IntegerNetwork("n", InputSpec(4000, 4000), (*convs, Dense(
        "score", np.full((1, 1), 127), np.array([0]))))
    with pytest.raises(GraphError) as error:
        qonnx_export.model(net)
    assert str(error.value) == ("score: accumulators must stay below 2^24 for float32 to be exact, "
                                "not reach 2130706305")


def test_unwritable_folder_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError):
        qonnx_export.export(small(), tmp_path / "none" / "net.onnx")
    assert list(tmp_path.iterdir()) == []
