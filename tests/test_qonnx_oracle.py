"""qonnx's own executor as the oracle."""

import numpy as np
import pytest

from bamac.ir import random_networks, reference
from bamac.ir.network import Conv2d, Dense, GraphError, InputSpec, IntegerNetwork
from bamac.qonnx import exporter as qonnx_export
from bamac.qonnx import oracle as qonnx_oracle


def test_oracle_refuses_frames_out_of_range(tmp_path):
    case = random_networks.random_case(2)
    qonnx_export.export(case.network, tmp_path / "net.onnx")
    with pytest.raises(GraphError, match="^Frames must be in "):
        qonnx_oracle.run(case.network, tmp_path / "net.onnx",
                         np.full(case.frames[0].shape, 1000))


def test_levels_groups_dilation_and_branches_are_those_of_the_reference(tmp_path):
    rng = np.random.default_rng(5)
    bipolar = Conv2d("bipolar", rng.integers(-9, 10, (4, 3, 3, 2)), np.array([3, -3, 0, 7]),
                     padding=(1, 1, 1, 0), low=-1, step=2)
    levels = Conv2d("levels", rng.integers(-9, 10, (4, 2, 2, 2)),
                    np.sort(rng.integers(-30, 30, (4, 7)), axis=1), (1, 1), (2, 0, 2, 0),
                    groups=2, dilation=2, low=-3)
    both = Conv2d("both", rng.integers(-9, 10, (3, 8, 3, 3)), np.array([3, 0, 9]), (2, 1))
    hidden = Dense("hidden", rng.integers(-9, 10, (5, 3 * 3 * 4)), np.zeros(5, int), "levels",
                   thresholds=np.sort(rng.integers(-30, 30, (5, 3)), axis=1), low=-2)
    last = Dense("last", rng.integers(-9, 10, (2, 5)), np.array([3, 4]))
    network = IntegerNetwork("net", InputSpec(7, 6, 4, channels=3, zero_point=2),
                             [bipolar, levels, both, hidden, last], (0.5, 0.25), (1.0, 0.0),
                             inputs={"both": ("levels", "bipolar")})
    qonnx_export.export(network, tmp_path / "net.onnx")
    for _ in range(5):
        frames = rng.integers(-8, 8, (3, 7, 6))
        ours = reference.run(network, frames)
        theirs = qonnx_oracle.run(network, tmp_path / "net.onnx", frames)
        for name, maps in theirs.bits.items():
            np.testing.assert_array_equal(ours.layers[name].bits, maps)
        for name, outputs in theirs.outputs.items():
            np.testing.assert_array_equal(ours.layers[name].outputs, outputs)
        np.testing.assert_array_equal(ours.scores, theirs.scores)
    assert {-1, 1} == set(np.unique(ours.layers["bipolar"].bits))
    assert len(np.unique(ours.layers["levels"].bits)) > 4
