"""What both ends of the serial link agree on; ``docs/boards.md`` has it in words.

Commands and replies are frames of RFC 1662 (PPP in HDLC-like framing, section 4): a ``FLAG`` on
either side, ``ESCAPE`` in front of a byte that would be one of the two (which is then sent with
its bit 5 inverted), and the 16-bit frame check sequence, low byte first. So a frame ends where
its flag is, whatever was lost, and no command can be waited for forever.

A command is ``Op``, a 24-bit word index (little-endian: an AXI4-Lite byte address divided by 4),
and the operation's data. A reply is ``Reply`` and, for some, a 32-bit word (little-endian).
"""

from amaranth.lib import enum

__all__ = ["ESCAPE", "ESCAPE_BIT", "FCS_GOOD", "FCS_INIT", "FLAG", "HEADER_BYTES",
           "RECEIVE_BYTES", "Op", "Reply", "clocks_per_bit"]

FLAG, ESCAPE, ESCAPE_BIT = 0x7E, 0x7D, 0x20
FCS_INIT = 0xFFFF
FCS_GOOD = 0xF0B8  # the sum over a frame and its check sequence (RFC 1662, appendix C)
HEADER_BYTES = 4
RECEIVE_BYTES = 512  # that the board keeps for later; the host never has more than these on the way


class Op(enum.Enum, shape=3):
    """First byte of a command."""

    READ = 0    # one word; answers WORD
    WRITE = 1   # one or more words, 4 bytes each, to this and the following words; answers DONE
    VALUES = 2  # values of a frame, a byte each, its end not among them; answers DONE when taken
    FRAME = 3   # as VALUES, and the last byte is the frame's last value
    RESET = 4   # reset the accelerator; its memories keep their contents; answers DONE
    UNKNOWN = 7


class Reply(enum.Enum, shape=3):
    """First byte of a reply; replies come in the order of the commands, scores in between."""

    DONE = 0
    REFUSED = 1     # the accelerator's registers refused an access
    DAMAGED = 2     # check sequence, length or operation of a command is wrong
    WORD = 4        # with the word that was read
    SCORE = 5       # with a score, unasked
    SCORE_LAST = 6  # with a clip's last score


def clocks_per_bit(clock_hz: int, baud: int) -> int:
    """Clock cycles of one bit.

    Raises
    ------
    ValueError
        If fewer than 4, or if the rate would be off by more than 2 % (ten bits must not drift
        by half a bit, and the other end has an error of its own).
    """
    cycles = round(clock_hz / baud)
    if cycles < 4:
        raise ValueError(f"Baud rate must be at most a quarter of the clock of {clock_hz} Hz, "
                         f"not {baud!r}")
    actual = clock_hz / cycles
    if abs(actual - baud) > 0.02 * baud:
        raise ValueError(f"Baud rate must be within 2 % of a divisor of the clock of {clock_hz} "
                         f"Hz, not {baud!r} (nearest: {actual:.0f})")
    return cycles
