"""What trace builds show: every tile's output bits, every dense output, every memory access."""

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge, ValueChange

from bamac_hw.abi.counters import COUNTERS

__all__ = ["TileCollector", "TrafficMonitor", "WordCollector"]


class _Collector:
    """Records on every change of ``*_toggle``, so that Python sleeps in between."""

    FIELDS = ()

    def __init__(self, dut, prefix):
        self._toggle = getattr(dut, f"{prefix}_toggle")
        self._fields = [getattr(dut, f"{prefix}_{name}") for name in self.FIELDS]
        self.records = []

    def start(self):
        """Begin to record; to be called after reset, which changes the toggle too."""
        self.records = []
        return cocotb.start_soon(self._run())

    async def _run(self):
        change, fields, toggle = ValueChange(self._toggle), self._fields, self._toggle
        last = int(toggle.value)
        while True:
            await change
            now = int(toggle.value)
            assert now != last
            last = now
            self.records.append([str(field.value) for field in fields])

    def column(self, name):
        """A field of all records as int64."""
        k = self.FIELDS.index(name)
        return np.array([int(record[k], 2) for record in self.records], np.int64)

    def bits(self, name):
        """A field of all records as bits (records, width), least significant first."""
        k = self.FIELDS.index(name)
        text = "".join(record[k] for record in self.records).encode()
        width = len(self.records[0][k]) if self.records else 1
        return (np.frombuffer(text, np.uint8) - ord("0")).reshape(-1, width)[:, ::-1]


class TileCollector(_Collector):
    """Outputs of every tile and pass: output bits, or what the datapath's write-back records.

    Parameters
    ----------
    dut : handle
    fields : sequence of str
        Names of the write-back's own fields: ``bits``, and ``acc`` if accumulators were built in;
        of int8 maps ``bits`` are a word of values, and ``group`` its number.
    """

    def __init__(self, dut, fields):
        self.FIELDS = ("layer", "row", "col", "pass", *fields)
        super().__init__(dut, "trace_tile")


class WordCollector(_Collector):
    """Every output of every dense layer."""

    FIELDS = ("layer", "index", "value")

    def __init__(self, dut):
        super().__init__(dut, "trace_word")


class TrafficMonitor:
    """Counts accesses of every memory port, per layer, from the ports' enables.

    It is a second count, independent of the gateware's counters, and wakes Python in every cycle:
    for short runs.
    """

    PORTS = tuple(name for name in COUNTERS if name.endswith(("_reads", "_writes")))

    def __init__(self, dut, clock, layers):
        self._clock = clock
        self._layer, self._flush = dut.mon_layer, dut.mon_flush
        self._ports = [(name, getattr(dut, "mon_" + name.removesuffix("s")))
                       for name in self.PORTS]
        self._layers = layers
        self.start_counts()

    def start_counts(self):
        self.counts = [dict.fromkeys(self.PORTS, 0) for _ in range(self._layers)]
        self._job = dict.fromkeys(self.PORTS, 0)

    def start(self):
        """Begin to count, from zero."""
        self.start_counts()
        return cocotb.start_soon(self._run())

    async def _run(self):
        edge = RisingEdge(self._clock)
        while True:
            await edge
            for name, port in self._ports:
                ones = int(port.value).bit_count()
                if ones and name == "input_writes":
                    # Frames arrive while any layer runs, and are all booked to the first.
                    self.counts[0][name] += ones
                elif ones:
                    self._job[name] += ones
            if self._flush.value == 1:
                counts = self.counts[int(self._layer.value)]
                for name, count in self._job.items():
                    counts[name] += count
                self._job = dict.fromkeys(self.PORTS, 0)
