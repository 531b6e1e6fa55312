"""The command on the real simulation: one small network, once."""

import json
import subprocess
import sys

import numpy as np

from bamac.ir import reference, trace
from bamac.ir.network import Conv2d, Dense, InputSpec, IntegerNetwork
from bamac.qonnx import exporter as qonnx_export


def test_simulate_equals_the_reference_and_its_trace(tmp_path):
    rng = np.random.default_rng(4)
    network = IntegerNetwork("tiny-net", InputSpec(11, 9), (
        Conv2d("first", rng.integers(-127, 128, (6, 1, 3, 3)), rng.integers(-5000, 5000, 6),
               padding=(1, 1, 1, 1), pool=(2, 2)),
        Conv2d("second", rng.integers(-127, 128, (3, 6, 2, 3)), np.zeros(3, int),
               global_pool="sum"),
        Dense("head", rng.integers(-127, 128, (4, 3)), np.full(4, 300), "unsigned", 6, 4),
        Dense("score", rng.integers(-127, 128, (2, 4)), np.array([5, -7]))), 0.5, 1.0)
    frames = rng.integers(-128, 128, (11, 9)).astype(np.int8)
    np.save(tmp_path / "frames.npy", frames)
    qonnx_export.export(network, tmp_path / "net.onnx")

    def bamac(*args):
        done = subprocess.run([sys.executable, "-m", "bamac", *args, "--json"], cwd=tmp_path,
                              capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    bamac("compile", "net.onnx")
    result = bamac("simulate", "net.bamac", "--input", "frames.npy", "--trace", "rtl.npz")
    expected = reference.run(network, frames)
    assert result["outputs"] == [expected.outputs.tolist()]
    assert result["bit_exact"] and result["cycles"] == result["predicted_cycles"]
    assert sum(layer["compared"] for layer in result["layers"]) > 500
    trace.save(trace.from_reference(network, frames, expected), tmp_path / "reference.npz")
    assert bamac("diff", "rtl.npz", "reference.npz") == {"equal": True, "first": None}
