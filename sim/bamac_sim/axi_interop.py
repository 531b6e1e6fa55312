"""One clip, driven by cocotbext-axi: a second opinion on the protocol of every interface.

A cocotb module with the files of :mod:`.run_jobs`, but with somebody else's drivers.
"""

import json
import os
from pathlib import Path

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, Timer, with_timeout
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiStreamBus,
    AxiStreamSink,
    AxiStreamSource,
)

from bamac_hw.abi.registers import DESCRIPTOR_WINDOW, ID_VALUE, WEIGHT_WINDOW, Register


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def clip_through_cocotbext_axi(dut):
    """Load a program, stream one clip, take its scores."""
    folder = Path(os.environ["BAMAC_JOBS"])
    (job,) = json.loads((folder / "jobs.json").read_text(encoding="utf-8"))["jobs"]
    with np.load(folder / "0.npz") as content:
        descriptors, weights, frames = (content[name] for name in
                                        ("descriptors", "weights", "frames"))
    await Timer(1, unit="ns")
    dut.rst.value = 1
    Clock(dut.clk, 10, unit="ns").start()
    host = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
    source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis_frames"), dut.clk, dut.rst)
    sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis_scores"), dut.clk, dut.rst,
                         byte_size=32)
    await ClockCycles(dut.clk, 4)
    dut.rst.value = 0
    await ClockCycles(dut.clk, 600)

    assert int.from_bytes((await host.read(Register.ID, 4)).data, "little") == ID_VALUE
    await host.write(DESCRIPTOR_WINDOW, descriptors.astype("<u4").tobytes())
    await host.write(WEIGHT_WINDOW, weights.astype("<u4").tobytes())
    await host.write(Register.CONTROL, (1).to_bytes(4, "little"))
    for row in (frames & 0xFF).astype(np.uint8).reshape(-1, frames.shape[2]):
        await source.send(row.tobytes())
    scores = []
    for _ in range(len(frames)):
        # One AXI4-Stream frame is one clip's scores
        beats = (await with_timeout(sink.recv(), 15, "ms")).tdata
        assert len(beats) == job["outputs"]
        scores.append([(int(beat) ^ 1 << 31) - (1 << 31) for beat in beats])
    assert sink.empty()
    (folder / "scores.json").write_text(json.dumps(scores))
