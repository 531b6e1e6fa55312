"""Finished runs from folders and from a runs file: both give the same tables."""

import json
import re

import numpy as np
import pytest

from bamac.evaluation.runs import AccuracyError, read_runs, read_sets
from bamac.evaluation.tables import collect
from bamac.report.learning_curve import curve_points
from bamac.training.config import TrainConfig
from benchmarks import pack_runs

LABELS = np.array([1.25, 2.5, 3.75, 4.5])
REFERENCES = {"mean of the training labels": {"pcc": None, "srcc": None, "rmse": 1.0}}
GROUP = {"clips": 2, "pcc": 0.9, "srcc": 0.8, "rmse": 0.4, "label_std": 1.0}


def _run(folder, error, **values):
    config = TrainConfig(**values).decides()
    folder.mkdir(parents=True)
    scores = LABELS + error * np.array([1, -1, 1, -1])
    np.savez(folder / "test.npz", scores=scores, labels=LABELS)
    split = {"level": "qat", "all": GROUP, "voice": {"a": GROUP}, "language": {"it": GROUP}}
    (folder / "report.json").write_text(json.dumps(
        {"configuration": config, "training_seconds": 60.0, "voices": ["a", "b"],
         "input_ones": [0.5], "input_unions": [0.7], "val": split, "test": split}))
    (folder / "log.jsonl").write_text(json.dumps(
        {"epoch": 1, "phase": "float", "loss": 0.25, "val": {"rmse": 0.5}, "seconds": 9}) + "\n")


@pytest.fixture
def packed(tmp_path):
    """A folder of runs, and the same runs in a file."""
    folder, path = tmp_path / "runs", tmp_path / "runs.json"
    for seed in (1, 2):
        _run(folder / f"bam-{seed}", 0.1 * seed, seed=seed)
    _run(folder / "fp32", 0.05, variant="fp32")
    distilled = folder / "distilled"
    distilled.mkdir()
    (distilled / "report.json").write_text(json.dumps({"configuration": {"levels": 3}}))
    accuracy = tmp_path / "accuracy.json"
    accuracy.write_text(json.dumps({"references": REFERENCES}))
    pack_runs.main([f"first={folder}", "--references", f"first={accuracy}", "-o", str(path)])
    return folder, path


def test_a_runs_file_gives_the_tables_of_its_folder(packed):
    folder, path = packed
    of_folder, of_file = collect(folder), collect(path)
    assert [row.title for row in of_file] == ["fp32 (ReLU)", "BAM + W8"]
    for expected, row in zip(of_folder, of_file, strict=True):
        assert (row.title, row.config, row.seconds, row.groups["language"]) == (
            expected.title, expected.config, expected.seconds, expected.groups["language"])
        np.testing.assert_allclose(row.scores, expected.scores, atol=1e-5)
        np.testing.assert_array_equal(row.labels, LABELS)
    assert of_file[1].names == ("bam-1", "bam-2")
    assert "voice" not in of_file[0].groups
    assert curve_points([path]) == curve_points([folder])
    assert curve_points([path])[0]["talkers"] == 2


def test_references_belong_to_a_set_and_not_to_several(packed, tmp_path):
    folder, path = packed
    assert read_runs(path).references == REFERENCES
    pack_runs.main([f"second={folder}", "-o", str(path)])
    assert read_runs(path).references is None
    assert read_runs(path, ["first"]).references == REFERENCES
    assert read_runs(folder).references is None
    assert len(read_runs(path).runs) == 2 * len(read_runs(path, ["second"]).runs) == 8


def test_packing_again_replaces_runs_of_the_same_name_and_keeps_others(packed, tmp_path):
    _, path = packed
    before = path.read_text()
    _run(tmp_path / "new" / "fp32", 0.5, variant="fp32")
    _run(tmp_path / "new" / "later", 0.5, variant="fp32", clips=3600)
    pack_runs.main([f"first={tmp_path / 'new'}", "-o", str(path)])
    runs = {run.name: run for run in read_sets(path)["first"].runs}
    assert sorted(runs) == ["bam-1", "bam-2", "distilled", "fp32", "later"]
    np.testing.assert_allclose(runs["fp32"].scores, LABELS + 0.5 * np.array([1, -1, 1, -1]))
    lines = set(before.splitlines()) - set(path.read_text().splitlines())
    assert len([line for line in lines if '"bam-' in line]) == 0


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "runs.json"
    for text in ("{}", "[1]", "damaged", '{"format": 2, "voices": [], "labels": [], "sets": {}}'):
        path.write_text(text)
        with pytest.raises(AccuracyError, match=re.escape(
                f"{path} must be a runs file of format 1, as `python -m benchmarks.pack_runs` "
                f"writes it")):
            read_runs(path)


def test_a_set_that_is_not_there_is_refused(packed):
    folder, path = packed
    with pytest.raises(AccuracyError, match=re.escape(f"{path} has the sets first, not 'other'")):
        read_runs(path, ["other"])
    with pytest.raises(AccuracyError, match=re.escape(
            f"{folder} must be a runs file to have sets, not a folder")):
        read_runs(folder, ["first"])


def test_a_table_of_a_runs_file_needs_no_data_set_and_is_of_one_set(packed, tmp_path):
    from click.testing import CliRunner

    from bamac.cli.commands.evaluate import command

    folder, path = packed
    out = tmp_path / "out"
    words = ["--table", str(path), "--data", str(tmp_path / "none"), "--out", str(out)]
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 0, result.output
    assert "| *mean of the training labels* | | | – | | – | 1.000 |" in (
        out / "accuracy.md").read_text()
    pack_runs.main([f"second={folder}", "-o", str(path)])
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 2
    assert f"{path} holds the sets first, second; give one of them with --set" in (
        " ".join(result.output.split()))
    assert CliRunner().invoke(command, [*words, "--set", "first"]).exit_code == 0


def test_runs_without_scores_or_log_are_refused(packed):
    folder, _ = packed
    (folder / "fp32" / "log.jsonl").unlink()
    with pytest.raises(AccuracyError, match="fp32 must have a log of its epochs in log.jsonl"):
        curve_points([folder])
    (folder / "fp32" / "test.npz").unlink()
    with pytest.raises(AccuracyError, match="fp32 must hold scores of the test clips in test.npz"):
        collect(folder)
