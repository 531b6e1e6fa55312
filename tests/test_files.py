import pytest

from bamac import files


def test_file_takes_its_place_only_when_whole(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), files.new_file(path) as temporary:
        assert temporary.suffix == ".txt"
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    files.write_bytes(path, b"new")
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_file_has_the_usual_permissions(tmp_path):
    files.write_text(tmp_path / "a", "x")
    (tmp_path / "b").write_text("x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_folder_takes_the_place_of_an_older_one(tmp_path):
    path = tmp_path / "f"
    for name in ("one", "two"):
        with files.new_folder(path) as temporary:
            (temporary / name).write_text(name)
    assert [p.name for p in path.iterdir()] == ["two"]
    with pytest.raises(ZeroDivisionError), files.new_folder(path) as temporary:
        (temporary / "three").write_text("half")
        raise ZeroDivisionError
    assert [p.name for p in path.iterdir()] == ["two"]
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
    (tmp_path / "plain").mkdir()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_file_does_not_replace_a_folder_nor_the_other_way(tmp_path):
    (tmp_path / "f").mkdir()
    with pytest.raises(IsADirectoryError) as error:
        files.write_text(tmp_path / "f", "x")
    assert str(error.value) == f"Output file must not be a folder: {tmp_path / 'f'}"
    (tmp_path / "g").write_text("x")
    with pytest.raises(NotADirectoryError) as error, files.new_folder(tmp_path / "g"):
        pass
    assert str(error.value) == f"Output folder must not be a file: {tmp_path / 'g'}"
