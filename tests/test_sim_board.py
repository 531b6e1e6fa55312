"""Whole boards in Verilator, with the host program on the other end of a pseudo-terminal."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import serial
from serial_frames import framed, unstuffed

from bamac import load
from bamac.cli.main import main
from bamac.compiler import compile_network
from bamac.host import Link, LinkError, Session, compare
from bamac.ir import reference
from bamac.ir.random_networks import random_case
from bamac.qonnx import exporter as qonnx_export
from bamac.shipped import ASSETS
from bamac_hw.boards import BOARDS
from bamac_hw.geometry import Geometry
from bamac_sim.board import build_board, running_board

NANO = Geometry("nano", channels=4, acc_bits=24, weight_rows=2048, input_words=64, line_words=512,
                vector_words=64, max_layers=6)
FAST = 3_000_000  # 4 cycles per bit at 12 MHz
DONE, DAMAGED = bytes([0]), bytes([2])


@pytest.fixture(autouse=True)
def _slow_only_on_request(request):
    if request.node.get_closest_marker("slow") and "slow" not in request.config.option.markexpr:
        pytest.skip("slow: run with `make test-slow`")


@pytest.fixture(scope="module")
def case():
    return random_case(3, windows=2, pools=[(1, 1), (2, 2)])


@pytest.fixture(scope="module")
def simulated():
    with running_board(build_board(BOARDS["icebreaker"], NANO, baud=FAST)) as running:
        yield running


def talk(port, sent, replies):
    """Send raw bytes; the contents of so many replies."""
    with serial.Serial(port, timeout=0.02) as line:
        line.write(sent)
        received = b""
        for _ in range(500):
            received += line.read(4096)
            if received.count(b"\x7E") >= 2 * replies:
                break
        return unstuffed(received)


def run_and_check(port, program, case):
    with Link(port, timeout=20) as link:
        session = Session(link, program)
        session.load()
        run = session.run(case.frames)
    result = compare.describe(program, case.network, case.frames, run, check=True)
    assert result["differences"] == [] and result["compared"] > 50
    expected = [reference.run(case.network, window).outputs.tolist() for window in case.frames]
    assert result["outputs"] == expected


def test_scores_and_counters_equal_reference_and_model_from_run_to_run(simulated, case):
    program = compile_network(case.network, NANO)
    for _ in range(2):
        run_and_check(simulated.port, program, case)


def test_board_gets_out_of_anything_that_a_host_left_behind(simulated, case):
    program = compile_network(case.network, NANO)
    read_id, start = framed(bytes(4)), framed(bytes([1, 3, 0, 0, 1, 0, 0, 0]))
    # Values for an accelerator that does not run: the command waits for ever, others behind it
    waiting = framed(bytes([2, 0, 0, 0]) + bytes(40)) * 6
    # A clip that is broken off in the middle of a frame, and half a command
    broken_off = start + framed(bytes([3, 0, 0, 0]) + bytes(8)) + b"\x7E\x01\x03\x00"
    noise = bytes(np.random.default_rng(1).integers(0, 256, 700, dtype=np.uint8))
    for left in (waiting, broken_off, noise, read_id * 40, waiting + noise):
        with serial.Serial(simulated.port) as line:
            line.write(left)
        run_and_check(simulated.port, program, case)


def test_damaged_command_changes_nothing_and_says_so(simulated):
    with Link(simulated.port, timeout=20):
        pass
    control, run = framed(bytes([0, 3, 0, 0])), bytearray(framed(bytes([1, 3, 0, 0, 1, 0, 0, 0])))
    run[5] ^= 4
    replies = talk(simulated.port, bytes(run) + control, 2)
    assert replies == [DAMAGED, bytes([4, 0, 0, 0, 0])]


def test_program_of_another_array_is_refused(simulated, case):
    program = compile_network(case.network, Geometry.preset("tiny"))
    with pytest.raises(LinkError, match="^The board's accelerator is not of array tiny "), \
            Link(simulated.port, timeout=20) as link:
        Session(link, program)


def test_commands_work_together(simulated, case, tmp_path, capfd):
    """``bamac host`` as a user runs it, with a program and frames in files."""
    def bamac(*args):
        capfd.readouterr()
        with pytest.raises(SystemExit) as leave:
            main([str(arg) for arg in args])
        assert leave.value.code == 0, capfd.readouterr().err
        return capfd.readouterr().out

    qonnx_export.export(case.network, tmp_path / "net.onnx")
    (tmp_path / "nano.toml").write_text("".join(
        f"{name} = {json.dumps(value)}\n" for name, value in NANO.to_dict().items()))
    np.save(tmp_path / "frames.npy", case.frames)
    program = tmp_path / "net.bamac"
    bamac("compile", tmp_path / "net.onnx", "--array", tmp_path / "nano.toml", "-o", program)
    asked = ["host", program, tmp_path / "frames.npy", "--port", simulated.port, "--check"]
    result = json.loads(bamac(*asked, "--json"))
    assert result["differences"] == [] and result["checked"]
    expected = [reference.run(case.network, window).outputs.tolist() for window in case.frames]
    assert result["outputs"] == expected
    assert "from the reference: equal" in bamac(*asked)


@pytest.mark.slow
@pytest.mark.parametrize("name, baud", [
    ("icebreaker", None),          # every cycle as on the board
    ("icebreaker", 3_000_000), ("ulx3s", None), ("ulx3s", 12_500_000)])
def test_paper_network_scores_a_whole_clip_on_the_board(name, baud):
    board = BOARDS[name]
    geometry = Geometry.preset(board.array)
    network = load.load_model()
    program = compile_network(network, geometry)
    clip = Path(ASSETS) / "clips" / "clean.wav"
    frames, _ = load.frames_of_clip(network.input, network.name, network.front_end, clip)
    with running_board(build_board(board, geometry, baud=baud)) as running:
        with Link(running.port, timeout=60) as link:
            session = Session(link, program)
            session.load()
            run = session.run(frames)
    result = compare.describe(program, network, frames, run, check=True)
    assert result["differences"] == [] and result["compared"] > 100
    # In real time, the time on the serial line among it: a clip is 5 s long
    assert result["busy_cycles"] + result["waiting_cycles"] < 5 * board.clock_hz
    assert run.outputs.tolist() == [reference.run(network, frames[0]).outputs.tolist()]


@pytest.mark.slow
def test_simulate_board_prints_a_port_that_host_can_open(tmp_path):
    with subprocess.Popen([sys.executable, "-m", "bamac", "simulate-board", "icebreaker",
                           "--baud", str(FAST)], stdout=subprocess.PIPE, text=True) as process:
        try:
            port = process.stdout.readline().strip()
            assert os.path.exists(port)
            with Link(port, timeout=60) as link:
                assert link.read([0]) == [0x434D4142]
        finally:
            process.terminate()
