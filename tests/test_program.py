"""Program folders: the same bytes back, and every damage refused."""

import json

import numpy as np
import pytest

from bamac.compiler import compile_network
from bamac.ir.random_networks import paper_network
from bamac_hw.geometry import Geometry
from bamac_hw.program import Program, ProgramError


@pytest.fixture(scope="module")
def program():
    return compile_network(paper_network().network, Geometry.preset("small"))


def test_round_trip(program, tmp_path):
    loaded = Program.load(program.save(tmp_path / "p.bamac"))
    np.testing.assert_array_equal(loaded.weights, program.weights)
    np.testing.assert_array_equal(loaded.descriptors, program.descriptors)
    assert loaded.manifest == json.loads(json.dumps(program.manifest))
    assert loaded.geometry == program.geometry


def test_same_bytes_each_time(program, tmp_path):
    one, two = program.save(tmp_path / "one"), program.save(tmp_path / "two")
    assert sorted(p.name for p in one.iterdir()) == sorted(p.name for p in two.iterdir())
    for path in one.iterdir():
        assert path.read_bytes() == (two / path.name).read_bytes()


def test_damaged_image_is_refused(program, tmp_path):
    folder = program.save(tmp_path / "p")
    raw = bytearray((folder / "weights.bin").read_bytes())
    raw[100] ^= 1
    (folder / "weights.bin").write_bytes(raw)
    with pytest.raises(ProgramError, match="is damaged: weights.bin does not match its checksum"):
        Program.load(folder)


def test_newer_format_is_refused(program, tmp_path):
    folder = program.save(tmp_path / "p")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["format"] = 4
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ProgramError, match="has format 4, this version reads 3"):
        Program.load(folder)


def test_foreign_folder_is_not_overwritten(program, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(ProgramError, match="exists and is not a program"):
        program.save(tmp_path / "mine")
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_missing_program_names_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match="make one with 'bamac compile MODEL.onnx"):
        Program.load(tmp_path / "none.bamac")
