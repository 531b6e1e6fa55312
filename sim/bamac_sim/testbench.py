"""The accelerator with everything around it: host, frame source, score sink, collectors."""

import logging
from dataclasses import dataclass

import cocotb
from cocotb.clock import Clock
from cocotb.simtime import get_sim_time
from cocotb.triggers import ClockCycles, Timer, gather, select

from bamac_hw.abi.counters import COUNTER_SLOTS, COUNTERS
from bamac_hw.abi.descriptors import FORMAT_VERSION
from bamac_hw.abi.registers import (
    COUNTER_WINDOW,
    DESCRIPTOR_WINDOW,
    ID_VALUE,
    Register,
)

from .axi_lite import AxiLiteMaster
from .collectors import TileCollector, TrafficMonitor, WordCollector
from .streams import StreamSink, StreamSource

__all__ = ["AcceleratorTestbench", "CheckError", "Design"]

CLOCK_NS = 10


class CheckError(AssertionError):
    """The hardware broke a rule that holds for every run."""


@dataclass(frozen=True)
class Design:
    """What a testbench must know of the design: plain values, which travel as JSON.

    Parameters
    ----------
    identity : int
        Content of the register ``GEOMETRY``.
    max_layers : int
    counters : bool
        Whether there are performance counters.
    tile_fields : sequence of str
        Of a trace build, see :class:`~bamac_sim.collectors.TileCollector`.
    weight_window : int
        Address of the weight store.
    """

    identity: int
    max_layers: int
    counters: bool
    tile_fields: tuple
    weight_window: int


class AcceleratorTestbench:
    """Owns the testbench's pieces; one for each job, on a clock that runs on.

    Parameters
    ----------
    dut : handle
    design : Design
    layers : int
        Layers of the program.
    idle, stall : float
        Probability of idle cycles of the source, of the sink not being ready; half of the larger
        is the host's hesitation.
    rng : random.Random
    trace : bool
        Whether the build has trace ports.
    monitors : bool
        Count memory accesses from the ports' enables.
    """

    def __init__(self, dut, design, layers, *, idle, stall, rng, trace, monitors):
        self.dut, self.design = dut, design
        self.log = logging.getLogger("bamac.testbench")
        self._layers = layers
        clock = self.clock = dut.clk
        self.host = AxiLiteMaster(dut, "s_axil", clock, stall=max(idle, stall) / 2, rng=rng)
        self._source = lambda: StreamSource(
            clock, dut.s_axis_frames_tdata, dut.s_axis_frames_tvalid, dut.s_axis_frames_tready,
            dut.s_axis_frames_tlast, idle=idle, rng=rng)
        self._sink = lambda: StreamSink(
            clock, dut.m_axis_scores_tdata, dut.m_axis_scores_tvalid, dut.m_axis_scores_tready,
            dut.m_axis_scores_tlast, stall=stall, rng=rng)
        self.source, self.sink = self._source(), self._sink()
        self.tiles = TileCollector(dut, design.tile_fields) if trace else None
        self.words = WordCollector(dut) if trace else None
        self.traffic = TrafficMonitor(dut, clock, layers) if monitors else None
        self._tasks = []

    def start_clock(self):
        """Start the clock; once for each simulation."""
        Clock(self.clock, CLOCK_NS, unit="ns").start()

    def now(self):
        """Clock cycles since the simulation began."""
        return get_sim_time("ns") / CLOCK_NS

    def stop(self):
        """End every task, so that the next testbench is alone with the design."""
        for task in self._tasks:
            task.cancel()
        self._tasks = []

    async def reset(self):
        """Stop everything and reset; the collectors and monitors start again from nothing."""
        self.stop()
        self.host.clear()
        self.source, self.sink = self._source(), self._sink()
        self.dut.rst.value = 1
        await ClockCycles(self.clock, 2)
        self.dut.rst.value = 0
        # The counters' memory is cleared after a reset, one word per cycle.
        await ClockCycles(self.clock, 8 + (self.design.max_layers * COUNTER_SLOTS
                                           if self.design.counters else 0))
        self._tasks = [piece.start() for piece in (self.tiles, self.words, self.traffic) if piece]

    async def load(self, descriptors, weights):
        """Check what hardware this is, and load a program."""
        host = self.host
        for register, expected in ((Register.ID, ID_VALUE), (Register.VERSION, FORMAT_VERSION),
                                   (Register.GEOMETRY, self.design.identity)):
            actual = await host.read(register)
            if actual != expected:
                raise CheckError(f"Register {register.name} must be {expected:#x}, "
                                 f"not {actual:#x}")
        await host.write_words(DESCRIPTOR_WINDOW, descriptors)
        await host.write_words(self.design.weight_window, weights)

    async def start(self, beats, n_scores):
        """Offer the beats and start; returns the task that ends with the last score."""
        self.total_beats, self.n_scores = len(beats), n_scores
        feeding = cocotb.start_soon(self.source.run(beats))
        taking = cocotb.start_soon(self.sink.run(n_scores))
        self._tasks += [feeding, taking]
        # A few cycles, so that the first value is offered before the accelerator is ready for it.
        await ClockCycles(self.clock, 2)
        await self.host.write(Register.CONTROL, 1)
        self.started_at = self.now()
        finished = cocotb.start_soon(self._finish(feeding, taking))
        self._tasks.append(finished)
        return finished

    async def _finish(self, feeding, taking):
        await gather(feeding, taking)

    def clip_ends(self, outputs):
        """Cycles from the start to each clip's last score."""
        return [round(at / CLOCK_NS - self.started_at)
                for at in self.sink.taken_at_ns[outputs - 1::outputs]]

    async def watch(self, finished, *, patience, report):
        """Wait for ``finished``; fail if nothing at all happens for ``patience`` cycles."""
        step = max(1, min(50_000, patience // 4))
        last, since = None, self.now()
        while not finished.done():
            timer = Timer(step * CLOCK_NS, unit="ns")
            await select(finished, timer)
            activity = (self.source.sent, len(self.sink.received),
                        len(self.tiles.records) if self.tiles else 0,
                        len(self.words.records) if self.words else 0)
            if activity != last:
                last, since = activity, self.now()
            elif self.now() - since > patience:
                raise CheckError(
                    f"Nothing happened for {patience} cycles: {activity[0]} of "
                    f"{self.total_beats} values and {activity[1]} of {self.n_scores} scores were "
                    f"taken, status is {await self.host.read(Register.STATUS):#x}, "
                    f"error {await self.host.read(Register.ERROR):#x}")
            report(self)
        finished.result()

    async def finish(self, clips, outputs):
        """Stop, check what holds after every run, and read the counters.

        Returns one dict per layer; empty dicts without counters.
        """
        host = self.host
        await host.write(Register.CONTROL, 0)
        # The last job saves its state and its counts after the last score.
        await ClockCycles(self.clock, 100)
        if self.sink.received[outputs - 1::outputs] != [(value, 1) for value, _ in
                                                        self.sink.received[outputs - 1::outputs]]:
            raise CheckError("tlast must be set with the last score of a clip")
        if sum(last for _, last in self.sink.received) != clips:
            raise CheckError("tlast must be set with the last score of a clip alone")
        if int(self.dut.m_axis_scores_tvalid.value):
            raise CheckError("No score must be offered after the last one")
        for register, expected in ((Register.ERROR, 0), (Register.CLIPS, clips),
                                   (Register.STATUS, 0), (Register.INTERRUPT, 1)):
            actual = await host.read(register)
            if actual != expected:
                raise CheckError(f"Register {register.name} must be {expected} after the run, "
                                 f"not {actual}")
        if not self.design.counters:
            return [{} for _ in range(self._layers)]
        words = [await host.read_words(COUNTER_WINDOW + 4 * COUNTER_SLOTS * layer, len(COUNTERS))
                 for layer in range(self._layers)]
        return [dict(zip(COUNTERS, counts, strict=True)) for counts in words]
