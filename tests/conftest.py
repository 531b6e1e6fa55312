"""``--quick``, and fixtures of the command line's tests: a model, its program, frames, the command.
"""

import sys

import fake_simulator
import numpy as np
import pytest
import soundfile
from command_line import Ran, small_network

from bamac.cli.main import main
from bamac.qonnx import exporter as qonnx_export

# Tests that simulate, synthesise or train for more than two seconds: `make check` leaves them out.
SLOWER = set("""
    accuracy activity_queue benchmarks boards cli cli_refusals collector compiler count_units
    counters data_build dataset degrade dense_walker design_report dnsmos event_walker explore
    extending fpga_carry fpga_flow fpga_project fused golden host int8_maps integerise lane_arrays
    memories networks operands qonnx_export report run_hardware runs scheduler shipped
    sim_accelerator sim_axi_interop sim_board sim_build student training_distillation training_loop
    training_supervised uart verilog window_fetch write_back
""".split())


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true", help="only files that take a few seconds")


def pytest_ignore_collect(collection_path, config):
    if config.getoption("quick") and collection_path.stem.removeprefix("test_") in SLOWER:
        return True
    return None


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "net.onnx"
    qonnx_export.export(small_network(), path)
    return path


@pytest.fixture
def program(model, tmp_path, run):
    path = tmp_path / "net.bamac"
    assert run("compile", model, "-o", path).code == 0
    return path


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.wav"
    soundfile.write(path, np.random.default_rng(2).normal(0, 0.05, 80_000), 16_000)
    return path


@pytest.fixture
def frames(tmp_path):
    path = tmp_path / "frames.npy"
    np.save(path, np.random.default_rng(3).integers(-128, 128, (249, 120)).astype(np.int8))
    return path


@pytest.fixture
def run(capfd):
    def call(*args):
        capfd.readouterr()
        with pytest.raises(SystemExit) as leave:
            main([str(arg) for arg in args])
        return Ran(leave.value.code, *capfd.readouterr())
    return call


@pytest.fixture
def simulator(monkeypatch):
    def install(change=None):
        network = small_network()
        monkeypatch.setitem(sys.modules, "bamac_sim.simulate",
                            fake_simulator.module({network.digest(): network}, change))
    install()
    return install
