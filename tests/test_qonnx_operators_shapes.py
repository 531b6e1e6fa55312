"""Flattening a pooled map."""

import pytest
from onnx_builder import after_step, assert_refused


def flatten_map(b):
    b.node("Flatten", axis=1, name="flat")


REFUSALS = {
    "no global pool": (after_step(flatten_map, finish=False),
        "Flatten node flat: a map must be pooled globally (max, sum or average) before it is "
        "flattened"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_refusal(what, tmp_path):
    assert_refused(*REFUSALS[what], tmp_path)
