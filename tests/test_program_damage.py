"""Program folders from elsewhere: other formats, manifests cut short, saves cut short."""

import json

import numpy as np
import pytest

from bamac_hw.abi.descriptors import HEADER, LAYER, pack_descriptor
from bamac_hw.geometry import Geometry
from bamac_hw.program import Program, ProgramError


def fields_of(words):
    return {name: 0 for word in words for name in word}


@pytest.fixture
def program():
    descriptors = pack_descriptor(HEADER, fields_of(HEADER)) + pack_descriptor(
        LAYER, fields_of(LAYER))
    return Program(
        Geometry("four", channels=4, weight_rows=16),
        np.array([[1, -1, 127, -127], [0, 2, 3, -128]], np.int8),
        np.array(descriptors, np.uint32),
        {"network": {"name": "none"}, "layers": [{"index": 0, "name": "one"}]})


def edit(folder, change):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_rows_as_memory_words(program):
    assert program.weight_words() == [0x817FFF01, 0x80030200]


def test_newer_format_with_other_fields_is_called_newer(program, tmp_path):
    folder = program.save(tmp_path / "p")

    def change(manifest):
        manifest["format"] = 7
        manifest["geometry"]["dimensions"] = 3
        del manifest["images"], manifest["layers"]

    edit(folder, change)
    with pytest.raises(ProgramError, match="has format 7, this version reads 3; compile the"):
        Program.load(folder)


@pytest.mark.parametrize("change", [
    lambda m: m.pop("format"), lambda m: m.pop("geometry"), lambda m: m.pop("layers"),
    lambda m: m.pop("network"), lambda m: m.pop("images"),
    lambda m: m.update(images=[1]), lambda m: m.update(images={"weights.bin": None}),
    lambda m: m["images"].pop("descriptors.bin"),
    lambda m: m["geometry"].update(channels=5), lambda m: m["geometry"].update(colour=5),
    lambda m: m["geometry"].update(acc_bits=21),
])
def test_damaged_manifest_is_refused(program, tmp_path, change):
    folder = program.save(tmp_path / "p")
    edit(folder, change)
    with pytest.raises(ProgramError, match="has a damaged manifest: "):
        Program.load(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "\xff"])
def test_manifest_that_is_no_object_is_refused(program, tmp_path, text):
    folder = program.save(tmp_path / "p")
    (folder / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ProgramError, match="has a damaged manifest: "):
        Program.load(folder)


@pytest.mark.parametrize("name", ["weights.bin", "descriptors.bin"])
def test_missing_or_short_image_is_refused(program, tmp_path, name):
    folder = program.save(tmp_path / "p")
    (folder / name).write_bytes((folder / name).read_bytes()[:-4])
    with pytest.raises(ProgramError, match=f"{name} does not match its checksum"):
        Program.load(folder)
    (folder / name).unlink()
    with pytest.raises(ProgramError, match=f"lacks {name}; compile the network again"):
        Program.load(folder)


def test_interrupted_save_leaves_nothing_behind(program, tmp_path, monkeypatch):
    def interrupt(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Program, "listing", interrupt)
        with pytest.raises(KeyboardInterrupt):
            program.save(tmp_path / "new")
        assert list(tmp_path.iterdir()) == []
    folder = program.save(tmp_path / "old")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(Program, "listing", interrupt)
        with pytest.raises(KeyboardInterrupt):
            program.save(tmp_path / "old")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
