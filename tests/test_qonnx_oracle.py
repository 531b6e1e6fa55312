"""qonnx's own executor as the oracle."""

import numpy as np
import pytest

from bamac.ir import random_networks
from bamac.ir.network import GraphError
from bamac.qonnx import exporter as qonnx_export
from bamac.qonnx import oracle as qonnx_oracle


def test_oracle_refuses_frames_out_of_range(tmp_path):
    case = random_networks.random_case(2)
    qonnx_export.export(case.network, tmp_path / "net.onnx")
    with pytest.raises(GraphError, match="^Frames must be in "):
        qonnx_oracle.run(case.network, tmp_path / "net.onnx",
                         np.full(case.frames[0].shape, 1000))
