"""Bytes of the serial link: framing, check sequence, commands and replies.

:mod:`bamac_hw.serial.serial_link` says what they mean; ``docs/boards.md`` describes them in full.
"""

from __future__ import annotations

from bamac.errors import DamagedReply
from bamac_hw.serial.serial_link import ESCAPE, ESCAPE_BIT, FCS_INIT, FLAG, HEADER_BYTES, Op, Reply

__all__ = ["Unframer", "check_sequence", "command", "frame", "parse_reply"]


def _table():
    # RFC 1662, appendix C: x^16 + x^12 + x^5 + 1, lowest bit first
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ 0x8408 if byte & 1 else byte >> 1
        table.append(byte)
    return table


_TABLE = _table()


def check_sequence(content):
    """The two bytes of the frame check sequence."""
    fcs = FCS_INIT
    for byte in content:
        fcs = (fcs >> 8) ^ _TABLE[(fcs ^ byte) & 0xFF]
    return (fcs ^ 0xFFFF).to_bytes(2, "little")


def frame(content):
    """``content`` with check sequence, escapes and flags."""
    escape = bytes([ESCAPE])
    stuffed = content + check_sequence(content)
    for special in (ESCAPE, FLAG):  # the escape first, or its own would be escaped again
        stuffed = stuffed.replace(bytes([special]), escape + bytes([special ^ ESCAPE_BIT]))
    flag = bytes([FLAG])
    return flag + stuffed + flag


def command(op, address=0, data=b""):
    """A command's frame; ``address`` in bytes, of a word whose index has 24 bits."""
    if address % 4 or not 0 <= address < 4 << 24:
        raise ValueError(f"Address must be a multiple of 4 below {4 << 24:#x}, not {address:#x}")
    return frame(bytes([Op(op).value]) + (address // 4).to_bytes(HEADER_BYTES - 1, "little")
                 + bytes(data))


class Unframer:
    """Cuts a stream of bytes into frames.

    What comes before the first flag is left away: it belongs to nothing.
    """

    def __init__(self):
        self._inside = False
        self._bytes = bytearray()
        self._escaped = False

    def feed(self, received):
        """Contents of the frames that end in ``received``, check sequences removed.

        Raises
        ------
        DamagedReply
            At a frame that is damaged.
        """
        for byte in received:
            if byte == FLAG:
                content, self._bytes = bytes(self._bytes), bytearray()
                begun, self._inside = self._inside, True
                escaped, self._escaped = self._escaped, False
                if not content or not begun:
                    continue
                if escaped or len(content) < 3 or check_sequence(content[:-2]) != content[-2:]:
                    raise DamagedReply("A reply arrived damaged")
                yield content[:-2]
            elif byte == ESCAPE:
                self._escaped = True
            else:
                self._bytes.append(byte ^ ESCAPE_BIT if self._escaped else byte)
                self._escaped = False


def parse_reply(content):
    """``(reply, word)`` of a frame's content; ``word`` is unsigned, or None.

    Raises
    ------
    LinkError
        If the board says something that this version does not know.
    """
    kinds = {kind.value: kind for kind in Reply}
    kind = kinds.get(content[0])
    with_word = kind in (Reply.WORD, Reply.SCORE, Reply.SCORE_LAST)
    if kind is None or len(content) != (5 if with_word else 1):
        raise DamagedReply(f"Reply must be one that this version knows, not {content.hex(' ')}")
    return kind, int.from_bytes(content[1:], "little") if with_word else None
