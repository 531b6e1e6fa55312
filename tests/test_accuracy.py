"""The accuracy table against figures computed here, from made-up runs."""

import json

import numpy as np
import pytest

from bamac.evaluation import tables as accuracy
from bamac.evaluation.agreement import clip_groups
from bamac.evaluation.metrics import agreement
from bamac.nn.config import make_config
from bamac.report import learning_curve
from bamac.report.accuracy import accuracy_report, references
from bamac.training.config import TrainConfig

RNG = np.random.default_rng(8)
LABELS = RNG.uniform(1, 4.6, 60)
KINDS = [["noise"], ["codec", "noise"], ["modulated"], []]
MANIFEST = [{"voice": "a" if i % 2 else "b", "family": "studio", "language": "it",
             "p808": 3 + 0.2 * LABELS[i], "pesq": LABELS[i],
             "degradations": [{"kind": kind} for kind in KINDS[i % 4]]} for i in range(60)]


def _by_group(scores):
    return {title: {name: agreement(scores[rows], LABELS[rows]) for name, rows in group.items()}
            for title, group in clip_groups(MANIFEST).items()}


REFERENCES = references(MANIFEST, LABELS, 2.8)


def _run(folder, error, stored=None, **values):
    """A finished run; ``stored`` are options of its configuration that training has no more."""
    config = TrainConfig(**values)
    folder.mkdir()
    scores = LABELS + error * np.random.default_rng(config.seed).standard_normal(60)
    np.savez(folder / "test.npz", scores=scores, labels=LABELS)
    (folder / "report.json").write_text(json.dumps(
        {"configuration": {**config.decides(), **(stored or {})}, "training_seconds": 5.0,
         "voices": ["a", "b"], "test": _by_group(scores),
         "input_ones": [0.5, 0.1, 0.1, 0.1], "input_unions": [0.7, 0.2, 0.2, 0.2]}))
    return scores


@pytest.fixture
def runs(tmp_path):
    scores = [_run(tmp_path / f"bam-{seed}", 0.6, seed=seed) for seed in (1, 2)]
    _run(tmp_path / "fp32", 0.3, variant="fp32")
    _run(tmp_path / "few", 0.9, input_bits=4, prune=0.5, start="other/float.pt")
    return tmp_path, scores


def test_runs_that_differ_in_their_seed_form_a_row(runs):
    folder, scores = runs
    rows = accuracy.collect(folder)
    assert [(r.title, len(r.scores)) for r in rows] == [
        ("fp32 (ReLU)", 1), ("BAM + W8", 2), ("BAM + W8, 4-bit input, 50 % of weights pruned", 1)]
    found = rows[1].summary()
    by_hand = [np.corrcoef(s, LABELS)[0, 1] for s in scores]
    assert found["pcc"] == pytest.approx(np.mean(by_hand))
    assert found["pcc_std"] == pytest.approx(abs(by_hand[0] - by_hand[1]) / np.sqrt(2))
    assert found["rmse"] == pytest.approx(np.mean([np.sqrt(((s - LABELS) ** 2).mean())
                                                   for s in scores]))
    assert found["bias"] == pytest.approx(np.mean([(s - LABELS).mean() for s in scores]))
    low, high = accuracy.bootstrap(rows[1], resamples=300)
    assert low < found["pcc"] < high and high - low < 0.2
    # Of the difference to a row: between them, and none to itself
    full = rows[0].summary()["pcc"]
    low, high = accuracy.bootstrap(rows[1], resamples=300, less=rows[0])
    assert low < found["pcc"] - full < high < 0
    assert accuracy.bootstrap(rows[1], resamples=9, less=rows[1]) == (0, 0)


def test_a_run_with_a_start_says_how_its_first_phase_was(runs):
    folder, _ = runs
    _run(folder / "grid", 0.4, int8_first=True, twin="fp32/float.pt", epochs=8)
    _run(folder / "again", 0.5, start="grid/float.pt")
    path = folder / "again" / "report.json"
    report = json.loads(path.read_text())
    report["first_phase"] = TrainConfig(int8_first=True, twin="a/float.pt", epochs=8).decides()
    path.write_text(json.dumps(report))
    rows = {row.title: row for row in accuracy.collect(folder)}
    both = rows["BAM + W8, from its twin, int8 throughout"]
    assert len(both.scores) == 2
    text = accuracy_report([both], REFERENCES, folder / "out").read_text()
    assert "| BAM + W8, from its twin, int8 throughout | 8 + 3 | 2 | 0." in text
    assert len(rows["BAM + W8"].scores) == 2


def test_runs_of_several_cycles_form_a_row(runs):
    """Reports from before there were cycles have one."""
    folder, _ = runs
    _run(folder / "twice", 0.4, cycles=2)
    path = folder / "fp32" / "report.json"
    report = json.loads(path.read_text())
    del report["configuration"]["cycles"]
    path.write_text(json.dumps(report))
    _run(folder / "fp32-2", 0.3, variant="fp32", seed=2)
    rows = {row.title: len(row.scores) for row in accuracy.collect(folder)}
    assert rows["BAM + W8, 2 cycles"] == 1 and rows["BAM + W8"] == rows["fp32 (ReLU)"] == 2


def test_rows_of_another_data_recipe_stand_apart_and_say_so(runs):
    folder, scores = runs
    more = [_run(folder / f"more-{seed}", 0.4, data_recipe=7, seed=seed) for seed in (1, 2, 3)]
    path = folder / "fp32" / "report.json"  # as from before there was a choice
    report = json.loads(path.read_text())
    del report["configuration"]["data_recipe"]
    path.write_text(json.dumps(report))
    rows = {row.title: row for row in accuracy.collect(folder)}
    assert list(rows) == ["fp32 (ReLU)", "BAM + W8", "BAM + W8, data recipe 7",
                          "BAM + W8, 4-bit input, 50 % of weights pruned"]
    np.testing.assert_array_equal(rows["BAM + W8, data recipe 7"].scores, more)
    np.testing.assert_array_equal(rows["BAM + W8"].scores, scores)


def test_memory_is_the_papers_count():
    """Facts of the paper's network: 45,697 parameters, 5,316.9 kB in fp32, 206.1 kB binary."""
    def count(variant, **changes):
        config = TrainConfig(variant=variant, **changes)
        return accuracy.memory_bytes(config.decides(), config.net_config())

    full, binary = count("fp32"), count("bam-w8")
    assert full["weights"] == 4 * 45_697 and full["weights"] + full["maps"] == full["fp32"]
    assert round(full["fp32"] / 1000, 1) == 5316.9
    assert binary["weights"] == 45_697 and round(sum(binary[k] for k in ("weights", "maps"))
                                                 / 1000, 1) == 206.1
    four = count("bam-w8", weight_bits=(4, 4, 4, 4))
    convolutions = 9 * (32 + 32 * 32 * 2 + 32 * 64)
    assert binary["weights"] - four["weights"] == convolutions // 2
    assert make_config("paper", "bam").binary and not make_config("paper", "w8").binary


def test_the_report_compares_the_best_of_those_with_most_seeds(runs, tmp_path):
    folder, _ = runs
    twins = [_run(folder / f"twin-{seed}", 0.2, twin="a/float.pt", seed=seed) for seed in (1, 2)]
    _run(folder / "lucky", 0.01, int8_first=True)
    text = accuracy_report(accuracy.collect(folder), REFERENCES, tmp_path / "out").read_text()
    binary = np.mean([np.corrcoef(scores, LABELS)[0, 1] for scores in twins])
    with np.load(folder / "fp32" / "test.npz") as data:
        full = np.corrcoef(data["scores"], LABELS)[0, 1]
    assert f"PCC {binary:.3f} against {full:.3f} (difference {binary - full:+.3f}" in text
    assert "BAM + W8, from its twin: PCC" in text


def test_the_report_states_every_row_and_group(runs, tmp_path):
    folder, _ = runs
    path = accuracy_report(accuracy.collect(folder), REFERENCES, tmp_path / "out")
    text = path.read_text()
    for part in ("fp32 (ReLU)", "BAM + W8, 4-bit input", "| modulated | 15 |", "| none | 15 |",
                 "| unseen damage | 15 |", "| *released DNSMOS P.808* | | | 1.000 |",
                 "| BAM + W8 | 16 + 3 | 2 | 0.",
                 "91.6", "50.0 % (70.0 %)"):
        assert part in text, part
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "accuracy.md", "accuracy.json", "accuracy-scatter.png", "accuracy-damage.png",
        "accuracy-memory.png"}


def test_runs_on_other_clips_are_refused(runs):
    folder, _ = runs
    np.savez(folder / "few" / "test.npz", scores=LABELS, labels=LABELS + 0.1)
    with pytest.raises(accuracy.AccuracyError, match="tested on different clips"):
        accuracy.collect(folder)


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(accuracy.AccuracyError, match="must hold finished runs"):
        accuracy.collect(tmp_path)


def test_streamed_maps_by_hand():
    """Six rows of 120 input values, then four rows of 60, 30 and 15 columns of 32 channels."""
    def count(variant, **changes):
        return accuracy.streaming_bytes(TrainConfig(variant=variant, **changes).net_config())

    vectors = 64 + 64 + 64
    assert count("bam-w8") == 6 * 120 + 4 * (60 + 30 + 15) * 32 // 8 + 2 * vectors
    assert count("bam-w8", input_bits=4) == count("bam-w8") - 6 * 120 // 2
    assert count("fp32") == 4 * (6 * 120 + 4 * (60 + 30 + 15) * 32 + vectors)


def test_rows_that_differ_in_epochs_alone_say_so(tmp_path):
    _run(tmp_path / "short", 0.6, epochs=8)
    _run(tmp_path / "long", 0.5, epochs=16, fine_epochs=2)
    _run(tmp_path / "pruned", 0.5, prune=0.5)
    assert sorted(row.title for row in accuracy.collect(tmp_path)) == [
        "BAM + W8, 16 + 2 epochs", "BAM + W8, 50 % of weights pruned", "BAM + W8, 8 + 3 epochs"]


def test_rows_with_another_number_of_clips_say_so(tmp_path):
    for seed in (1, 2):
        _run(tmp_path / f"usual-{seed}", 0.6, seed=seed)
    _run(tmp_path / "fp32", 0.6, variant="fp32")
    _run(tmp_path / "more", 0.5, clips=21_600)
    assert sorted(row.title for row in accuracy.collect(tmp_path)) == [
        "BAM + W8", "BAM + W8, 21,600 clips", "fp32 (ReLU)"]


def test_learning_curve_groups_by_clips_and_epochs(tmp_path):
    def run(name, clips, epochs, test_pcc, start=None, seed=1, recipe=6):
        _run(tmp_path / name, 0.5, clips=clips, epochs=epochs, start=start, seed=seed,
             data_recipe=recipe)
        path = tmp_path / name / "report.json"
        report = json.loads(path.read_text())
        report.update(val={"all": {"pcc": test_pcc + 0.05}}, test={"all": {"pcc": test_pcc}},
                      training_seconds=120)
        path.write_text(json.dumps(report))
        (tmp_path / name / "log.jsonl").write_text("\n".join(json.dumps(line) for line in (
            {"phase": "float", "loss": 0.81, "val": {"rmse": 1.0}},
            {"phase": "float", "loss": 0.4, "val": {"rmse": seed * 0.7}},
            {"phase": "fine", "loss": 0.2, "val": {"rmse": 9.0}})) + "\n")

    run("other", 3600, 8, 0.2, recipe=7)
    run("few", 3600, 8, 0.6)
    run("many-1", 7200, 8, 0.7)
    run("many-2", 7200, 8, 0.8, seed=2)
    run("long", 7200, 16, 0.85)
    run("variant", 7200, 16, 0.1, start="few/float.pt")
    points = learning_curve.curve_points([tmp_path])
    assert (points[-1]["recipe"], points[-1]["talkers"], points[-1]["test"]) == (
        7, 2, pytest.approx(0.2))
    points = points[:-1]
    assert [(p["clips"], p["epochs"], p["seeds"], round(p["test"], 6), round(p["val"], 6),
             p["loss"], p["minutes"]) for p in points] == [
        (3600, 8, 1, 0.6, 0.65, 0.4, 2.0), (7200, 8, 2, 0.75, 0.8, 0.4, 2.0),
        (7200, 16, 1, 0.85, 0.9, 0.4, 2.0)]
    assert points[1]["train_rmse"] == [0.9, 0.6325]
    assert points[1]["val_rmse"] == [1.0, 1.05]
    text = learning_curve.learning_curve([tmp_path], tmp_path / "out").read_text()
    assert "| BAM + W8 | 6 | 2 | 7,200 | 8 + 3 | 2 | 0.400 | 0.800 | 0.750 | 2 |" in text
    assert (tmp_path / "out" / "learning-curve.png").stat().st_size > 10_000


def test_learning_curve_without_runs_is_refused(tmp_path):
    with pytest.raises(accuracy.AccuracyError, match="must hold finished runs"):
        learning_curve.curve_points([tmp_path])


def test_a_table_without_its_training_clips_is_refused(runs, tmp_path):
    """The mean of the training labels would be that of no labels."""
    from click.testing import CliRunner

    from bamac.cli.commands.evaluate import command

    folder, _ = runs
    data = tmp_path / "data"
    data.mkdir()
    (data / "test-0000.jsonl").write_text("\n".join(json.dumps(e) for e in MANIFEST) + "\n")
    result = CliRunner().invoke(command, ["--table", str(folder), "--data", str(data), "--out",
                                          str(tmp_path / "out")])
    assert result.exit_code == 2
    assert ("holds 0 train clips, not 14400; make the rest with `bamac data --data-recipe 6`"
            in result.output)
    assert not (tmp_path / "out").exists()
