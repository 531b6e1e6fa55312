"""The spoken lines of two talking adventure games, out of their games' own files.

``queen.1c`` of Flight of the Amazon Queen (John Passfield and Steven Stamatiadis, 1995): a table of
names, offsets and sizes; each line is an MP3 stream of 11 kHz. ``sky.dnr`` and ``sky.dsk`` of
Beneath a Steel Sky (Revolution Software, 1994): the table and the data; each line is 8 bit PCM of
11 kHz behind a header, packed by Rob Northen's method 1, which the program ``ancient`` unpacks.
Formats: the readers of ScummVM (engines/queen/resource.cpp, engines/sky/disk.cpp).
"""

from __future__ import annotations

import os
import struct
import subprocess
import tempfile
import wave
from collections.abc import Sequence
from pathlib import Path

__all__ = ["QUEEN", "SKY", "SKY_TOOL", "TalkieError", "unpack_queen", "unpack_sky"]

QUEEN = "flight-of-the-amazon-queen"
SKY = "beneath-a-steel-sky"
SKY_TOOL = ("ancient", "libancient2")
"""Packages of the program that unpacks the lines of :data:`SKY`, and of its library."""

_SKY_RATE = 11_025
_SKY_HEADER = 22
_SKY_LINES = range(50_000, 60_000)
"""Numbers of the files that are spoken lines."""


class TalkieError(ValueError):
    """A game's file is not what it should be."""


def unpack_queen(package: Path, out: Path) -> None:
    """Write every line of the unpacked ``package`` to ``out``, as NAME.mp3.

    Names of lines begin with two digits, the conversation, and end with a letter and the number
    of the sentence: J where the hero speaks, P where the other one does. Those that begin with C
    are scenes of several talkers, with JOE the hero alone.
    """
    path = package / "usr/share/scummvm" / QUEEN / "queen.1c"
    content = path.read_bytes()
    if content[:4] != b"QTBL":
        raise TalkieError(f"{path} must begin with QTBL, not {content[:4]!r}")
    count, = struct.unpack(">H", content[13:15])
    for i in range(count):
        name, _, offset, size = struct.unpack(">12sBII", content[15 + 21 * i:36 + 21 * i])
        name = name.split(b"\0")[0].decode("ascii")
        if name.endswith(".SB"):
            (out / f"{Path(name).stem}.mp3").write_bytes(content[offset:offset + size])


def _sky_table(table):
    """``(number, offset, size)`` of every file that the table names."""
    count, = struct.unpack("<I", table[:4])
    for i in range(count):
        entry = table[4 + 8 * i:12 + 8 * i]
        number = int.from_bytes(entry[:2], "little")
        place = int.from_bytes(entry[2:5], "little")
        # The highest bit says that the place counts paragraphs of 16 bytes
        offset = (place & 0x7FFFFF) * (16 if place >> 23 else 1)
        yield number, offset, int.from_bytes(entry[5:8], "little") & 0x3FFFFF


def unpack_sky(package: Path, tools: Sequence[Path], out: Path) -> None:
    """Write every packed line of the unpacked ``package`` to ``out``, as NUMBER.wav.

    ``tools`` are the unpacked packages of :data:`SKY_TOOL`. Lines of one conversation, by two
    talkers in turn, have numbers near each other.
    """
    folder = package / "usr/share/scummvm" / SKY
    data = (folder / "sky.dsk").read_bytes()
    libraries = {str(path.parent) for tool in tools for path in tool.rglob("*.so.*")}
    program = next((path for tool in tools for path in tool.glob("usr/bin/ancient")), None)
    if program is None:
        raise TalkieError(f"{' and '.join(SKY_TOOL)} must hold usr/bin/ancient")
    with tempfile.TemporaryDirectory() as scratch:
        packed, plain = Path(scratch, "packed"), Path(scratch, "plain")
        for number, offset, size in _sky_table((folder / "sky.dnr").read_bytes()):
            line = data[offset + _SKY_HEADER:offset + size]
            if number not in _SKY_LINES or line[:3] != b"RNC":
                continue
            packed.write_bytes(line)
            run = subprocess.run([program, "decompress", packed, plain], capture_output=True,
                                 text=True,
                                 env={**os.environ, "LD_LIBRARY_PATH": ":".join(libraries)})
            if run.returncode:
                raise TalkieError(f"{program.name} cannot unpack line {number} of {SKY}: "
                                  f"{(run.stderr or run.stdout).strip()}")
            with wave.open(str(out / f"{number}.wav"), "wb") as sound:
                sound.setnchannels(1)
                sound.setsampwidth(1)
                sound.setframerate(_SKY_RATE)
                sound.writeframes(plain.read_bytes())
