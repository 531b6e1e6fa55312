"""Commands and replies over a serial port."""

from __future__ import annotations

import os
import random
import time
from collections import deque

from bamac.errors import DamagedReply, LinkError
from bamac_hw.abi.registers import Register
from bamac_hw.serial.serial_link import FLAG, RECEIVE_BYTES, Op, Reply

from .frames import Unframer, command, parse_reply

__all__ = ["CHUNK_BYTES", "Link"]

# Of data in a command: even if every byte must be escaped, it fits the board's receive buffer.
CHUNK_BYTES = 240
QUIET_S = 0.05
TRIES = 3  # at finding the board


class Link:
    """A serial port with an accelerator behind it; a context manager.

    Commands are sent ahead of the replies, as far as the board can keep them; replies come in the
    order of the commands. Every error ends the connection: the next one begins with a reset.

    Parameters
    ----------
    port : str
        Device, such as ``/dev/ttyUSB0``.
    baud : int
    timeout : float
        Seconds without any byte after which the board is taken to be silent.

    Raises
    ------
    LinkError
        If the port cannot be opened, or nothing that knows the protocol answers.
    """

    def __init__(self, port, *, baud=1_000_000, timeout=5.0):
        import serial

        self.port, self._timeout = port, timeout
        try:
            self._serial = serial.Serial(port, baud, timeout=0.02, write_timeout=timeout,
                                         exclusive=True)
        except (serial.SerialException, ValueError, OSError) as error:
            number = getattr(error, "errno", None)
            reason = os.strerror(number) if number else error
            raise LinkError(f"Port {port} cannot be opened: {reason}") from None
        self._lost = (serial.SerialException, OSError)
        self._unframer = Unframer()
        self._waiting = deque()  # (bytes on the way, what it is, its operation)
        self._words = deque()
        self._scores = deque()
        self._on_the_way = 0
        self._heard = False  # anything at all
        try:
            # Where the adapter's driver has the option (FTDI's waits 16 ms for more bytes)
            self._serial.set_low_latency_mode(True)
        except (AttributeError, NotImplementedError, ValueError, OSError):
            pass
        try:
            self._synchronise()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._serial.close()

    # --- commands

    def read(self, addresses, what="registers"):
        """The words at byte addresses, as a list of unsigned integers."""
        addresses = list(addresses)
        for address in addresses:
            self._send(Op.READ, address, what=f"reading {what}")
        self.finish()
        words, self._words = list(self._words), deque()
        assert len(words) == len(addresses)
        return words

    def write(self, address, data, *, what="registers", progress=None):
        """Write bytes (a multiple of 4) at a byte address and behind it.

        ``progress`` is called with the number of bytes that were sent.
        """
        if len(data) % 4:
            raise ValueError(f"Data must be whole words, not {len(data)} bytes")
        for at in range(0, len(data), CHUNK_BYTES):
            chunk = data[at:at + CHUNK_BYTES]
            self._send(Op.WRITE, address + at, chunk, what=f"writing {what}")
            if progress:
                progress(len(chunk))
        self.finish()

    def write_word(self, address, value, *, what="registers"):
        self.write(address, int(value).to_bytes(4, "little"), what=what)

    def send_frame(self, values, what="a frame"):
        """Send one frame of values (bytes); returns when there is room for the next."""
        ends = range(0, len(values), CHUNK_BYTES)
        for at in ends:
            self._send(Op.FRAME if at == ends[-1] else Op.VALUES,
                       data=values[at:at + CHUNK_BYTES], what=f"sending {what}")

    def scores(self, count):
        """Wait for ``count`` scores: signed integers, the last of them a clip's last."""
        while len(self._scores) < count:
            self._receive("a score")
        found = [self._scores.popleft() for _ in range(count)]
        if [last for _, last in found] != [False] * (count - 1) + [True]:
            raise LinkError(f"The clip's {count} scores ended with number "
                            f"{[last for _, last in found].index(True) + 1}"
                            if any(last for _, last in found) else
                            f"The clip's scores did not end with number {count}")
        return [value for value, _ in found]

    @property
    def scores_waiting(self):
        """Scores that have come and were not asked for yet."""
        return len(self._scores)

    def finish(self):
        """Wait until every command has been answered."""
        while self._waiting:
            self._receive(self._waiting[0][1])

    # --- bytes

    def _send(self, op, address=0, data=b"", *, what):
        sent = command(op, address, data)
        while self._waiting and self._on_the_way + len(sent) > RECEIVE_BYTES:
            self._receive(self._waiting[0][1])
        self._put(sent)
        self._waiting.append((len(sent), what, op))
        self._on_the_way += len(sent)

    def _put(self, sent):
        try:
            self._serial.write(sent)
        except self._lost as error:
            raise LinkError(f"Port {self.port} was lost: {error}") from None

    def _get(self):
        try:
            received = self._serial.read(max(1, self._serial.in_waiting))
        except (*self._lost, TypeError) as error:
            raise LinkError(f"Port {self.port} was lost: {error}") from None
        self._heard |= bool(received)
        return received

    def _receive(self, wanted):
        """Take what has come; at least one byte, or the board is silent."""
        began = time.monotonic()
        while not (received := self._get()):
            if time.monotonic() - began > self._timeout:
                raise LinkError(f"The board on {self.port} was silent for {self._timeout:g} s "
                                f"while {wanted} was awaited; run again, and the board is reset")
        for content in self._unframer.feed(received):
            self._take(*parse_reply(content))

    def _take(self, kind, word):
        if kind in (Reply.SCORE, Reply.SCORE_LAST):
            self._scores.append((word - (word >> 31 << 32), kind == Reply.SCORE_LAST))
            return
        if not self._waiting:
            raise LinkError(f"The board on {self.port} answered {kind.name} to nothing")
        size, what, op = self._waiting.popleft()
        self._on_the_way -= size
        if kind == Reply.DAMAGED:
            raise LinkError(f"A command was damaged on its way to the board ({what}); check the "
                            "cable and the baud rate, and run again")
        if kind == Reply.REFUSED:
            raise LinkError(f"The accelerator refused an access ({what})")
        if (kind == Reply.WORD) != (op == Op.READ):
            raise LinkError(f"The board answered {kind.name} to {op.name} ({what})")
        if kind == Reply.WORD:
            self._words.append(word)

    # --- start

    def _synchronise(self):
        """Bring the board to a known state, whatever it was in the middle of.

        A flood of flags ends any unfinished command. If an earlier command waits for an
        accelerator that does not move, it overflows the board's receive buffer, which resets both.
        Replies to what an earlier host has left behind come before ours, which are known by the
        random order in which two registers are read.
        """
        for _ in range(TRIES):
            self._put(bytes([FLAG]) * (RECEIVE_BYTES + 64))
            self._drain()
            order = [random.choice((Register.ID, Register.VERSION)) for _ in range(16)]
            self._put(command(Op.RESET) + b"".join(command(Op.READ, int(register))
                                                   for register in order))
            if self._answers_in(order):
                return
        if not self._heard:
            raise LinkError(f"Nothing answers on {self.port}: is the board on, its bitstream one "
                            f"of 'bamac synth --board', and the baud rate the same?")
        raise LinkError(f"What answers on {self.port} is no accelerator of bamac, or its baud rate "
                        f"is not {self._serial.baudrate}")

    def _drain(self):
        """Throw away what comes until nothing has for a while."""
        since = time.monotonic()
        while time.monotonic() - since < QUIET_S:
            if self._get():
                since = time.monotonic()
        self._unframer = Unframer()

    def _answers_in(self, order):
        """Whether the last replies, within a time, are those to a reset and to these reads."""
        found, began = [], time.monotonic()
        while time.monotonic() - began < self._timeout / TRIES:
            try:
                for content in self._unframer.feed(self._get()):
                    kind, word = parse_reply(content)
                    if kind not in (Reply.SCORE, Reply.SCORE_LAST):
                        found.append((kind, word))
            except DamagedReply:
                self._unframer = Unframer()
            kinds, words = zip(*found[-1 - len(order):], strict=True) if found else ((), ())
            if kinds == (Reply.DONE, *[Reply.WORD] * len(order)) and \
                    len({*zip(order, words[1:], strict=True)}) == len({*order}):
                return True
        return False
