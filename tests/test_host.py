"""The host's side of the serial link: what it says when the board or the line fails.

The board is a thread on the other end of a pseudo-terminal, with frames made by another path.
"""

import os
import threading
import tty

import numpy as np
import pytest
from layer_cases import input_case
from serial_frames import fcs, framed, stuffed, unstuffed

from bamac.compiler import compile_network
from bamac.host import Link, LinkError, Session
from bamac.host.frames import Unframer, check_sequence, command, frame
from bamac.ir.random_networks import random_case
from bamac_hw.abi.descriptors import FORMAT_VERSION
from bamac_hw.abi.registers import ID_VALUE
from bamac_hw.geometry import Geometry
from bamac_hw.serial.serial_link import RECEIVE_BYTES, Op

if os.name != "posix":
    pytest.skip("pseudo-terminals are POSIX", allow_module_level=True)

TINY = Geometry.preset("tiny")
READ, WRITE, VALUES, FRAME, RESET = range(5)
TIMEOUT = 0.6


@pytest.fixture(scope="module")
def case():
    return random_case(3, windows=2, pools=[(1, 1), (2, 2)])


@pytest.fixture(scope="module")
def program(case):
    return compile_network(case.network, TINY)


class FakeBoard:
    """Answers as a board with ``registers`` does; ``spoil(number, content, reply)`` changes that.

    ``most`` is the longest command with its flags.
    """

    def __init__(self, *, digest=None, registers=None, outputs=1, spoil=None):
        self.registers = {0x0: ID_VALUE, 0x4: FORMAT_VERSION,
                          0x8: int((digest or TINY.digest())[:8], 16), **(registers or {})}
        self.written, self.frames = {}, [bytearray()]
        self._outputs, self._spoil, self._clip = outputs, spoil, 0
        self.rows = None
        self.most = 0
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self):
        os.close(self._slave)
        self._thread.join(2)
        os.close(self._master)

    def _serve(self):
        part, number = bytearray(), 0
        while True:
            try:
                received = os.read(self._master, 4096)
            except OSError:  # the last slave was closed
                return
            for byte in received:
                if byte != 0x7E:
                    part.append(byte)
                    continue
                if not part:
                    continue
                content, = unstuffed(part)
                self.most = max(self.most, len(part) + 2)
                part.clear()
                reply = self._answer(content)
                if self._spoil:
                    reply = self._spoil(number, content, reply)
                number += 1
                try:
                    os.write(self._master, reply)
                except OSError:
                    return

    def _answer(self, content):
        op, address = content[0], 4 * int.from_bytes(content[1:4], "little")
        data = content[4:]
        if op == READ:
            return framed(b"\x04" + self.registers.get(address, 0).to_bytes(4, "little"))
        reply = framed(b"\x00")
        if op == WRITE:
            for k in range(0, len(data), 4):
                self.written[address + k] = int.from_bytes(data[k:k + 4], "little")
        if op in (VALUES, FRAME):
            self.frames[-1] += data
            if op == FRAME:
                self.frames.append(bytearray())
                self._clip += 1
                if self._clip == self.rows:
                    self._clip = 0
                    self.registers[0x18] = self.registers.get(0x18, 0) + 1
                    for k in range(self._outputs):
                        kind = 6 if k == self._outputs - 1 else 5
                        reply += framed(bytes([kind]) + (k - 3).to_bytes(4, "little", signed=True))
        return reply


@pytest.fixture
def board(request):
    boards = []

    def make(**options):
        boards.append(FakeBoard(**options))
        return boards[-1]
    yield make
    for each in boards:
        each.close()


def failure(board, act=None):
    """What the host says when it talks to this board."""
    with pytest.raises(LinkError) as caught, Link(board.port, timeout=TIMEOUT) as link:
        act(link)
    return str(caught.value)


# --- frames


def test_check_sequence_is_that_of_the_standard():
    assert check_sequence(b"123456789") == b"\x6E\x90"  # CRC-16/X-25's check value, 0x906E


def test_frames_equal_those_made_bit_by_bit():
    rng = np.random.default_rng(1)
    contents = [bytes(rng.integers(0, 256, n, dtype=np.uint8)) for n in range(1, 60)]
    contents += [b"\x7D", b"\x7E", b"\x7E\x7D" * 9, bytes(range(256))]
    assert [frame(content) for content in contents] == [framed(content) for content in contents]
    assert list(Unframer().feed(b"noise" + b"".join(map(frame, contents)))) == contents
    assert command(Op.WRITE, 0x8000C, b"\x01\x00\x00\x00") == framed(
        bytes([1, 0x03, 0x00, 0x02, 1, 0, 0, 0]))


@pytest.mark.parametrize("address", [1, 2, -4, 1 << 26])
def test_addresses_are_words_of_the_accelerator(address):
    with pytest.raises(ValueError, match="^Address must be a multiple of 4 below 0x4000000, not "):
        command(Op.READ, address)


# --- what works


def test_program_goes_where_the_registers_say(board, program):
    fake = board()
    with Link(fake.port, timeout=5) as link:
        sent = []
        session = Session(link, program)
        session.load(sent.append)
    assert sum(sent) == session.load_bytes == len(fake.written) * 4 - 4
    weights = np.ascontiguousarray(program.weights).reshape(-1).view("<u4")
    assert fake.written == {
        0xC: 0,
        **{0x1000 + 4 * k: int(word) for k, word in enumerate(program.descriptors)},
        **{0x80000 + 4 * k: int(word) for k, word in enumerate(weights)}}
    assert fake.most <= RECEIVE_BYTES


def test_frames_scores_and_counters(board, program, case):
    outputs = program.manifest["network"]["outputs"]
    fake = board(outputs=outputs, registers={
        0x2000 + 4 * (32 * layer + k): 1000 * layer + k
        for layer in range(len(program.layers)) for k in range(20)})
    fake.rows = case.frames.shape[1]
    with Link(fake.port, timeout=5) as link:
        run = Session(link, program).run(case.frames)
    assert [bytes(row) for row in fake.frames[:-1]] == [
        (row & 0xFF).astype(np.uint8).tobytes() for window in case.frames for row in window]
    assert run.outputs.tolist() == [list(range(-3, outputs - 3))] * 2
    assert [list(layer.values()) for layer in run.counters] == [
        [1000 * layer + k for k in range(20)] for layer in range(len(program.layers))]


def test_channels_are_sent_in_the_order_of_the_array(board):
    case = input_case(3, channels=3)
    program = compile_network(case.network, TINY)
    fake = board(outputs=program.manifest["network"]["outputs"])
    rows, cols = case.frames.shape[2:]
    fake.rows = rows
    told = []
    with Link(fake.port, timeout=5) as link:
        Session(link, program).run(case.frames, told.append)
    assert sum(told) == len(case.frames) * rows
    groups = range(0, cols, 2)   # of the tile's two columns
    assert [bytes(row) for row in fake.frames[:-1]] == [
        bytes(int(values[col]) & 0xFF if col < cols else 0
              for group in groups for number, values in enumerate(window[:, row])
              for col in (group, group + 1)
              if col < cols or number < 2)
        for window in case.frames for row in range(rows)]


def test_long_frames_are_sent_in_parts(board):
    fake = board()
    values = bytes(k & 0xFF for k in range(1000)) + b"\x7E" * 500
    with Link(fake.port, timeout=5) as link:
        link.send_frame(values)
        link.finish()
    assert fake.frames == [values, b""]


def test_noise_before_the_first_reply_is_no_error(board):
    fake = board(spoil=lambda number, content, reply: b"\x55\x00" * (number == 0) + reply)
    with Link(fake.port, timeout=5) as link:
        assert link.read([0x0]) == [ID_VALUE]


# --- what does not


def test_port_that_is_not_there(tmp_path):
    with pytest.raises(LinkError, match="^Port .*none cannot be opened: No such file or directory"):
        Link(str(tmp_path / "none"))


def test_silent_port(board):
    fake = board(spoil=lambda number, content, reply: b"")
    assert failure(fake).startswith(f"Nothing answers on {fake.port}: is the board on, its "
                                    "bitstream one of 'bamac synth --board', and the baud rate")


def test_port_with_something_else(board):
    fake = board(spoil=lambda number, content, reply: b"login: \r\n")
    assert failure(fake) == (f"What answers on {fake.port} is no accelerator of bamac, or its baud "
                             "rate is not 1000000")


def test_board_that_goes_silent(board):
    fake = board(spoil=lambda number, content, reply: reply if number < 19 else b"")
    said = failure(fake, lambda link: [link.read([0x0]) for _ in range(9)])
    assert said == (f"The board on {fake.port} was silent for 0.6 s while reading registers was "
                    "awaited; run again, and the board is reset")


@pytest.mark.parametrize("change, said", [
    (lambda reply: stuffed(b"\x04\x01\x00\x00\x00" + b"\x00\x00"), "A reply arrived damaged"),
    (lambda reply: reply[:4] + reply[5:], "A reply arrived damaged"),
    (lambda reply: framed(b"\x02"), "A command was damaged on its way to the board (reading "
     "registers); check the cable and the baud rate, and run again"),
    (lambda reply: framed(b"\x01\x00\x00\x00\x00"), "Reply must be one that this version knows, "
     "not 01 00 00 00 00"),
    (lambda reply: framed(b"\x01"), "The accelerator refused an access (reading registers)"),
    (lambda reply: framed(b"\x00"), "The board answered DONE to READ (reading registers)"),
    (lambda reply: framed(b"\x09"), "Reply must be one that this version knows, not 09"),
    (lambda reply: reply + framed(b"\x00"), "The board on {port} answered DONE to nothing"),
])
def test_wrong_replies_are_named(board, change, said):
    fake = board(spoil=lambda number, content, reply: change(reply) if number == 18 else reply)

    def act(link):
        for _ in range(3):
            link.read([0x0])
    assert failure(fake, act) == said.format(port=fake.port)


@pytest.mark.parametrize("options, said", [
    (dict(registers={0x4: 7}), "The board's accelerator has format 7, this version talks to "),
    (dict(digest=Geometry.preset("small").digest()),
     "The board's accelerator is not of array tiny but of small; compile the network for"),
    (dict(digest="0" * 64), "The board's accelerator is not of array tiny (its geometry digest "
                            "begins with 00000000); compile"),
    (dict(registers={0x0: 5}), "Register ID must be 0x434d4142, not 0x5: this is no accelerator"),
])
def test_other_hardware_is_refused_before_anything_is_loaded(board, program, options, said):
    fake = board(**options)
    assert failure(fake, lambda link: Session(link, program)).startswith(said)
    assert not fake.written


@pytest.mark.parametrize("registers, said", [
    ({0x14: 0b101}, "The accelerator reports an error: frame too short, value with too many bits"),
    ({0x18: 3}, "The accelerator scored 5 clips, not 2"),
    ({0x10: 1}, "The accelerator must be at rest after the run, not in state 0x1"),
])
def test_errors_of_the_hardware_are_reported(board, program, case, registers, said):
    fake = board(registers=registers, outputs=program.manifest["network"]["outputs"])
    fake.rows = case.frames.shape[1]
    assert failure(fake, lambda link: Session(link, program).run(case.frames)) == said


def test_wrong_number_of_scores(board, program, case):
    outputs = program.manifest["network"]["outputs"]
    for given, said in ((outputs - 1, f"ended with number {outputs - 1}"),
                        (outputs + 1, f"did not end with number {outputs}")):
        fake = board(outputs=given)
        fake.rows = case.frames.shape[1]
        text = failure(fake, lambda link: Session(link, program).run(case.frames))
        assert said in text or "was silent" in text


def test_lost_port_ends_the_link(board):
    fake = board()
    link = Link(fake.port, timeout=5)
    os.close(fake._master)
    fake._master = os.open(os.devnull, os.O_RDONLY)
    with pytest.raises(LinkError, match=f"^Port {fake.port} was lost: "):
        link.read([0x0] * 200)
    link.close()


def test_check_sequence_helper_of_the_tests_agrees():
    assert fcs(b"123456789") == b"\x6E\x90"
