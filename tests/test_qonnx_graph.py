"""The ONNX graph under the importer: one chain, and its constants."""

import numpy as np
import pytest
from onnx import helper
from onnx_builder import Builder, assert_refused, before_step

from bamac.ir.network import GraphError


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


REFUSALS = {
    "residual": (before_step(residual),
        "Tensor 't2' is read by sum twice: graph must be one chain, without branches"),
    "branch": (before_step(branch),
        "Tensor 't2' is read by left and right: graph must be one chain, without branches"),
    "weight zero point": (_weight_zero_point,
        "Quant node w: zero point must be 0, not 1: quantise symmetrically"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_refusal(what, tmp_path):
    assert_refused(*REFUSALS[what], tmp_path)
