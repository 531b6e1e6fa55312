"""Flattening a pooled map."""

import numpy as np
import pytest
from onnx_builder import Builder, after_step, assert_refused


@pytest.mark.parametrize("op, parameter, attributes", [
    ("Flatten", None, {}), ("Flatten", None, {"axis": -3}),
    ("Reshape", [1, 2], {}), ("Reshape", [0, -1], {}), ("Reshape", [-1, 2], {}),
    ("Squeeze", [2, 3], {}), ("Squeeze", [-1, -2], {})])
def test_a_pooled_map_becomes_a_vector(op, parameter, attributes, tmp_path):
    b = Builder().start(2)
    b.node("GlobalMaxPool")
    constants = [] if parameter is None else [b.constant(parameter, np.int64)]
    b.node(op, *constants, **attributes)
    b.node("Dropout")
    b.node("Identity")
    b.node("MatMul", b.weights((2, 1)))
    assert b.load(tmp_path).denses[0].in_channels == 2


def pooled_then(op, *parameters, **attributes):
    def change(b):
        b.node("GlobalMaxPool")
        b.node(op, *(b.constant(value, np.int64) for value in parameters), name="s", **attributes)
    return after_step(change, finish=False)


def flatten_map(b):
    b.node("Flatten", axis=1, name="flat")


REFUSALS = {
    "no global pool": (after_step(flatten_map, finish=False),
        "Flatten node flat: a map must be pooled globally (max, sum or average) before it is "
        "flattened"),
    "another axis": (pooled_then("Flatten", axis=2),
        "Flatten node s: shape must become 1 x 2, not None"),
    "another shape": (pooled_then("Reshape", [2, 0]),
        "Reshape node s: shape must become 1 x 2, not [2, 2]"),
    "one axis": (pooled_then("Squeeze", [3]),
        "Squeeze node s: shape must become 1 x 2, not None"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_refusal(what, tmp_path):
    assert_refused(*REFUSALS[what], tmp_path)
