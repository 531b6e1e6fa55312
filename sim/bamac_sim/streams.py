"""Source and sink of an AXI4-Stream.

cocotbext-axi has both, but its source wakes Python in every clock cycle of a frame, most of which
the accelerator spends with ``tready`` low; that costs more than the simulation of the design. These
sleep until ``tready`` or ``tvalid`` changes.
"""

import logging

from cocotb.simtime import get_sim_time
from cocotb.triggers import RisingEdge

__all__ = ["StreamSink", "StreamSource"]


class StreamSource:
    """Offers beats in order.

    Without idle cycles, ``valid`` stays high and the next beat is there in every cycle.

    Parameters
    ----------
    clock, data, valid, ready, last : handles
    idle : float
        Probability of a cycle without ``valid`` before a beat and after each such cycle.
    rng : random.Random
    """

    def __init__(self, clock, data, valid, ready, last, *, idle=0.0, rng=None):
        self._clock, self._data, self._valid = clock, data, valid
        self._ready, self._last = ready, last
        self._idle, self._rng = idle, rng
        self.log = logging.getLogger(f"bamac.source.{data._name}")
        self.sent = 0
        self.clear()

    def clear(self):
        """Offer nothing."""
        self._valid.value = 0
        self._last.value = 0
        self._data.value = 0

    async def run(self, beats):
        """Send ``(value, last)`` pairs; returns when the last one has been taken."""
        edge, rise = RisingEdge(self._clock), RisingEdge(self._ready)
        data, last, ready = self._data, self._last, self._ready
        was_last = None
        for value, is_last in beats:
            while self._idle and self._rng.random() < self._idle:
                self._valid.value = 0
                await edge
            data.value = value
            if is_last != was_last:
                last.value = was_last = is_last
            if self._idle or not self.sent:
                self._valid.value = 1
            await edge
            while ready.value != 1:
                await rise
                await edge
            self.sent += 1
        self._valid.value = 0
        self.log.debug("sent %d beats", self.sent)


class StreamSink:
    """Takes beats and keeps them as ``(value, last)`` in ``received``.

    Checks that an offered beat stays until it is taken.

    Parameters
    ----------
    clock, data, valid, ready, last : handles
    stall : float
        Probability that ``ready`` is low in a cycle.
    rng : random.Random
    """

    def __init__(self, clock, data, valid, ready, last, *, stall=0.0, rng=None):
        self._clock, self._data, self._valid = clock, data, valid
        self._ready, self._last = ready, last
        self._stall, self._rng = stall, rng
        self.log = logging.getLogger(f"bamac.sink.{data._name}")
        self.received = []
        self.taken_at_ns = []
        self._ready.value = 0 if stall else 1

    async def run(self, count):
        """Take ``count`` beats."""
        edge, rise = RisingEdge(self._clock), RisingEdge(self._valid)
        waiting, was_ready = None, not self._stall
        while len(self.received) < count:
            await edge
            # Values here are those from before the edge.
            if self._valid.value == 1:
                beat = (self._data.value.to_signed(), int(self._last.value))
                if waiting not in (None, beat):
                    raise AssertionError(
                        f"Beat {len(self.received)} must stay until it is taken: "
                        f"{beat} after {waiting}")
                waiting = beat
                if was_ready:
                    self.received.append(beat)
                    self.taken_at_ns.append(get_sim_time("ns"))
                    self.log.debug("received %s", beat)
                    waiting = None
            elif waiting is not None:
                raise AssertionError(f"Beat {len(self.received)} must stay until it is taken")
            elif not self._stall:
                await rise
            if self._stall:
                was_ready = self._rng.random() >= self._stall
                self._ready.value = int(was_ready)
