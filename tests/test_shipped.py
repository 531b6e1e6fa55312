"""Networks that ship with the package go by their names wherever a model's file is wanted."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bamac
from bamac import load
from bamac.explore import Store, grid
from bamac.explore.study import Study
from bamac.nn.checkpoint import load_network
from bamac.shipped import model_path, shipped_models

MODELS = Path(bamac.__file__).parent / "assets" / "models"


@pytest.mark.parametrize("name", shipped_models())
def test_each_is_known_by_its_name_and_has_a_card(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    card = (MODELS / f"{name}.md").read_text(encoding="utf-8")
    assert card.startswith(f"# Model card: {name}\n")
    _, metadata = load_network(name)
    file = load.load_model(MODELS / f"{name}.pt")
    assert load.load_model(name).digest() == file.digest()
    assert metadata.get("variant", "bam-w8") == ("fp32" if name == "paper-fp32" else "bam-w8")


def test_the_default_does_not_depend_on_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "paper-bam-w8").write_text("a file of the user's")
    shipped = load.load_model(MODELS / "paper-bam-w8.pt")
    assert load.load_model().digest() == shipped.digest()


def test_a_file_of_that_name_comes_first_and_a_folder_last(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "p808-bam-w8"
    folder.mkdir()
    assert model_path("p808-bam-w8") == MODELS / "p808-bam-w8.onnx"
    assert model_path("p808-bam-w8", (".pt",)) == MODELS / "p808-bam-w8.pt"
    assert model_path(folder) == folder
    (tmp_path / "mine.onnx").touch()
    with pytest.raises(FileNotFoundError):  # a path is taken as it stands
        model_path(tmp_path / "mine")
    folder.rmdir()
    shutil.copy(MODELS / "paper-fp32.pt", "p808-bam-w8")
    assert model_path("p808-bam-w8") == Path("p808-bam-w8")


@pytest.mark.parametrize("name", ["none", "none.onnx", "paper-bam-w8.onnx", "runs/paper-bam-w8"])
def test_what_is_neither_is_named_with_what_there_is(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for read in (model_path, load.load_model, load_network):
        with pytest.raises(FileNotFoundError) as caught:
            read(name)
        assert str(caught.value).startswith(f"Model {name} does not exist; make one with 'bamac ")
        assert str(caught.value).endswith(": " + ", ".join(shipped_models()))


def test_commands_take_the_name(tmp_path):
    command = [str(Path(sys.executable).parent / "bamac"), "inspect", "p808-bam-w8", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert json.loads(done.stdout)["name"] == "p808"


def test_explore_takes_the_name(tmp_path):
    points = grid([(2, 2)], [16], ["dense"])
    about = Study(points, ["paper-bam-w8"], [], Store(tmp_path), None).about()
    assert list(about["models"]) == ["paper-bam-w8"]
