"""What a trace build shows of the outputs: records of tiles, and of the head's outputs."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Member, Out

from ..abi.descriptors import layer_layout
from ..geometry import Geometry
from ..lib.delay import delayed
from ..pipeline import WRITE_STAGE
from .head import HeadRecordSignature

__all__ = ["TraceRecorder", "own_fields", "record_ports"]


def record_ports(record: wiring.Signature) -> dict[str, Member]:
    """The recorder's outputs for a write-back's ``record``: a port for each of its fields.

    A ``*_toggle`` flips with every record. See ``docs/simulation.md``.
    """
    ports = {
        "trace_tile_toggle": Out(1), "trace_tile_layer": Out(4), "trace_tile_row": Out(16),
        "trace_tile_col": Out(16), "trace_tile_pass": Out(8),
        "trace_word_toggle": Out(1), "trace_word_layer": Out(4), "trace_word_index": Out(16),
        "trace_word_value": Out(32),
    }
    return ports | {f"trace_tile_{name}": Out(record.members[name].shape)
                    for name in own_fields(record)}


def own_fields(record: wiring.Signature) -> list[str]:
    """Fields of a write-back's record that only some variants have, or whose width they choose."""
    return [name for name in record.members if name not in ("valid", "tile", "pass_")]


class TraceRecorder(wiring.Component):
    """Holds each record, with the layer and job that it belongs to, until the next one.

    Latency: one cycle from a record to its port.

    Parameters
    ----------
    geometry : Geometry
    record : wiring.Signature
        The write-back's.

    Members
    -------
    layer : the running layer's descriptor
    current, left : its number; rows that the running job and those behind it write
    tile : ``In(record)``, from the write-back
    word : ``In(HeadRecordSignature)``, from the collector
    trace_* : see :func:`record_ports`
    """

    def __init__(self, geometry: Geometry, record: wiring.Signature):
        self._geometry, self._record = geometry, record
        super().__init__({
            "layer": In(layer_layout(geometry)), "current": In(4), "left": In(16),
            "tile": In(record), "word": In(HeadRecordSignature(geometry)),
        } | record_ports(record))

    def elaborate(self, platform):
        g, layer = self._geometry, self.layer
        m = Module()
        job = Signal(16)
        # The scheduler is already at the next job when the last bits of one are written.
        current = delayed(m, self.current, WRITE_STAGE, "current_later")
        m.d.comb += job.eq((layer.out_rows - self.left)[:16]
                           >> (g.tile_rows.bit_length() - 1 - layer.pool_rows_log2)[:2])
        with m.If(self.tile.valid):
            m.d.sync += [
                self.trace_tile_toggle.eq(~self.trace_tile_toggle),
                self.trace_tile_layer.eq(current), self.trace_tile_row.eq(job),
                self.trace_tile_col.eq(self.tile.tile), self.trace_tile_pass.eq(self.tile.pass_),
                *(getattr(self, f"trace_tile_{name}").eq(getattr(self.tile, name))
                  for name in own_fields(self._record)),
            ]
        with m.If(self.word.valid):
            m.d.sync += [
                self.trace_word_toggle.eq(~self.trace_word_toggle),
                self.trace_word_layer.eq(current), self.trace_word_index.eq(self.word.index),
                self.trace_word_value.eq(self.word.value),
            ]
        return m
