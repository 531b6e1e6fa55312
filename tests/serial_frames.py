"""Frames of the serial link by another path than the code under test: bit by bit, as RFC 1662."""


def fcs(content):
    """The frame check sequence: polynomial division, one bit at a time, lowest bit first."""
    register = 0xFFFF
    for byte in content:
        for bit in range(8):
            feedback = (register ^ (byte >> bit)) & 1
            register = (register >> 1) ^ (0x8408 if feedback else 0)
    register ^= 0xFFFF
    return bytes([register & 0xFF, register >> 8])


def stuffed(content):
    """Flag, bytes with 0x7D in front of 0x7D and 0x7E (their bit 5 inverted), flag."""
    out = [0x7E]
    for byte in content:
        out += [0x7D, byte ^ 0x20] if byte in (0x7D, 0x7E) else [byte]
    return bytes([*out, 0x7E])


def framed(content):
    return stuffed(bytes(content) + fcs(bytes(content)))


def unstuffed(received):
    """Contents between flags, empty ones left away, with their check sequences checked."""
    found = []
    for part in bytes(received).split(b"\x7E"):
        if not part:
            continue
        out, escaped = bytearray(), False
        for byte in part:
            if byte == 0x7D:
                escaped = True
            else:
                out.append(byte ^ 0x20 if escaped else byte)
                escaped = False
        assert not escaped and fcs(out[:-2]) == out[-2:], part.hex(" ")
        found.append(bytes(out[:-2]))
    return found
