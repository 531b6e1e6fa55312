"""From bytes of a serial port to the accelerator's interfaces."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry
from ..host.axi import axi_stream_ports
from ..host.direct_port import DirectPort
from .serial_link import ESCAPE, ESCAPE_BIT, FCS_GOOD, FCS_INIT, FLAG, Op, Reply

__all__ = ["UartBridge"]


class UartBridge(wiring.Component):
    """Executes the commands of :mod:`bamac_hw.serial.serial_link`, one after the other.

    A command with at most one word, and the last value of a frame, take effect only after the check
    sequence was found to be right. Longer data is passed on while it arrives, 6 bytes (words) or 3
    bytes (values) behind the line. If the check sequence then turns out wrong, the reply says so,
    and the host has to start again. The next flag always begins a new command.

    One register of 6 bytes serves both directions: it holds the newest bytes of a command (they may
    be its check sequence), or the reply.

    Parameters
    ----------
    geometry : Geometry

    Members
    -------
    i, o : bytes from and to the serial port
    host_* : to the accelerator's ``DirectPort``
    m_axis_frames_*, s_axis_scores_* : AXI4-Stream, as the accelerator's
    reset : reset the accelerator, for one cycle
    fault : a command was damaged or refused since the last ``Op.RESET``
    """

    def __init__(self, geometry: Geometry):
        self._index_bits = geometry.bus_address_bits - 2
        super().__init__(
            {"i": In(stream.Signature(8)), "o": Out(stream.Signature(8)),
             "reset": Out(1), "fault": Out(1)}
            | {name: member.flip() for name, member in
               DirectPort.bus(geometry).items()}
            | axi_stream_ports("m_axis_frames", bits=8, flow=Out)
            | axi_stream_ports("s_axis_scores", bits=32, flow=In))

    # One state machine, whose states share all registers: longer than a function should be.
    def elaborate(self, platform):
        m = Module()

        op = Signal(Op)
        word_index = Signal(self._index_bits)
        held = Signal(48)       # oldest byte lowest
        phase = Signal(2)       # bytes received, modulo 4,
        in_data = Signal()      # behind the header,
        filled = Signal()       # and more than 4 of them
        escaped = Signal()
        refused = Signal()
        crc = Signal(16, init=FCS_INIT)

        is_flag, is_escape = self.i.payload == FLAG, self.i.payload == ESCAPE
        begun = in_data | (phase != 0) | escaped
        is_values = (op == Op.VALUES) | (op == Op.FRAME)
        word_due = filled & (phase == 2)
        value_due = filled | (in_data & (phase == 3))

        # One byte of the check sequence's sum (RFC 1662, appendix C). While the sum itself is sent
        # it only moves down.
        sending = Signal()
        sending_sum = Signal()
        byte = Signal(8)
        low, mixed = Signal(8), Signal(8)
        next_crc = Signal(16)
        m.d.comb += [
            byte.eq(Mux(sending, held[:8], self.i.payload ^ Mux(escaped, ESCAPE_BIT, 0))),
            low.eq((crc[:8] ^ byte) & ~sending_sum.replicate(8)),
            mixed.eq(low ^ (low << 4)),
            next_crc.eq(crc[8:] ^ (mixed << 8) ^ (mixed << 3) ^ (mixed >> 4)),
        ]

        m.d.comb += [
            self.host_index.eq(word_index), self.host_data.eq(held),
            self.m_axis_frames_tdata.eq(held[24:]),
            self.m_axis_frames_tlast.eq(is_flag & (op == Op.FRAME)),
        ]

        to_send = Signal(range(5))  # bytes of the reply before its check sequence, less one
        sums_to_send = Signal()

        def reply(kind, word=None):
            """Begin a reply with a command's flag, or with a score between two commands."""
            m.d.sync += [held[:8].eq(kind), crc.eq(FCS_INIT), phase.eq(0), in_data.eq(0),
                         filled.eq(0), escaped.eq(0), to_send.eq(0 if word is None else 4)]
            if word is not None:
                m.d.sync += held[8:40].eq(word)
            m.next = "OPEN"

        with m.FSM():
            with m.State("GET"):
                with m.If(self.s_axis_scores_tvalid & ~begun):
                    m.d.comb += self.s_axis_scores_tready.eq(1)
                    reply(Mux(self.s_axis_scores_tlast, Reply.SCORE_LAST, Reply.SCORE),
                          self.s_axis_scores_tdata)
                with m.Elif(self.i.valid & is_escape):
                    m.d.comb += self.i.ready.eq(1)
                    m.d.sync += escaped.eq(1)
                with m.Elif(self.i.valid & is_flag & ~begun):
                    m.d.comb += self.i.ready.eq(1)
                with m.Elif(self.i.valid & is_flag):
                    m.next = "DAMAGED"
                    with m.If((crc == FCS_GOOD) & ~escaped):
                        with m.Switch(op):
                            with m.Case(Op.WRITE):
                                with m.If(word_due):
                                    m.next = "WRITE"
                            with m.Case(Op.VALUES, Op.FRAME):
                                with m.If(value_due):
                                    m.next = "VALUE"
                            with m.Case(Op.READ):
                                with m.If(in_data & ~filled & (phase == 2)):
                                    m.next = "READ"
                            with m.Case(Op.RESET):
                                with m.If(in_data & ~filled & (phase == 2)):
                                    m.next = "RESET"
                with m.Elif(self.i.valid):
                    with m.If((op == Op.WRITE) & word_due):
                        m.next = "WRITE"
                    with m.Elif(is_values & value_due):
                        m.next = "VALUE"
                    with m.Else():
                        m.next = "TAKE"

            with m.State("TAKE"):
                index, beyond = Signal(self._index_bits), Signal(24 - self._index_bits)
                m.d.comb += Cat(index, beyond).eq(Cat(held[32:48], byte))
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [held.eq(Cat(held[8:], byte)), crc.eq(next_crc), phase.eq(phase + 1),
                             escaped.eq(0)]
                with m.If(phase == 3):
                    m.d.sync += [in_data.eq(1), filled.eq(in_data)]
                    with m.If(~in_data):
                        m.d.sync += [
                            op.eq(Mux(held[27:32].any() | beyond.any(), Op.UNKNOWN, held[24:27])),
                            word_index.eq(index), refused.eq(0),
                        ]
                m.next = "GET"

            with m.State("WRITE"):
                m.d.comb += self.host_write.eq(1)
                with m.If(self.host_done):
                    m.d.sync += [refused.eq(refused | self.host_refused),
                                 word_index.eq(word_index + 1)]
                    m.next = "GO-ON"
            with m.State("VALUE"):
                m.d.comb += self.m_axis_frames_tvalid.eq(1)
                with m.If(self.m_axis_frames_tready):
                    m.next = "GO-ON"
            with m.State("GO-ON"):
                with m.If(~is_flag):
                    m.next = "TAKE"
                with m.Else():
                    m.d.comb += self.i.ready.eq(1)
                    m.d.sync += self.fault.eq(self.fault | refused)
                    reply(Mux(refused, Reply.REFUSED, Reply.DONE))

            with m.State("READ"):
                m.d.comb += self.host_read.eq(1)
                with m.If(self.host_done):
                    m.d.comb += self.i.ready.eq(1)
                    reply(Mux(self.host_refused, Reply.REFUSED, Reply.WORD), self.host_word)
                    m.d.sync += self.fault.eq(self.fault | self.host_refused)
            with m.State("RESET"):
                m.d.comb += [self.reset.eq(1), self.i.ready.eq(1)]
                m.d.sync += self.fault.eq(0)
                reply(Reply.DONE)
            with m.State("DAMAGED"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += self.fault.eq(1)
                reply(Reply.DAMAGED)

            # Reply: flag, bytes, check sequence, flag.
            with m.State("OPEN"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(FLAG)]
                m.d.sync += sums_to_send.eq(1)
                with m.If(self.o.ready):
                    m.next = "BODY"
            with m.State("BODY"):
                plain = Signal(8)
                special = Signal()
                m.d.comb += [
                    sending.eq(1), plain.eq(Mux(sending_sum, ~crc[:8], held[:8])),
                    special.eq((plain[2:] == FLAG >> 2) & (plain[0] ^ plain[1])),
                    self.o.valid.eq(1),
                    self.o.payload.eq(Mux(special & ~escaped, ESCAPE,
                                          plain ^ Mux(escaped, ESCAPE_BIT, 0))),
                ]
                with m.If(self.o.ready & special & ~escaped):
                    m.d.sync += escaped.eq(1)
                with m.Elif(self.o.ready):
                    m.d.sync += [escaped.eq(0), held.eq(held[8:]), crc.eq(next_crc)]
                    with m.If(~sending_sum):
                        m.d.sync += [to_send.eq(to_send - 1), sending_sum.eq(to_send == 0)]
                    with m.Else():
                        m.d.sync += sums_to_send.eq(0)
                        with m.If(~sums_to_send):
                            m.next = "CLOSE"
            with m.State("CLOSE"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(FLAG)]
                m.d.sync += [crc.eq(FCS_INIT), sending_sum.eq(0)]
                with m.If(self.o.ready):
                    m.next = "GET"
        return m
