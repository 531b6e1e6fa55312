"""The commands on what they are for: results, exit codes, one JSON object."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile
from command_line import small_network

from bamac.ir import trace


def test_help_names_every_command():
    done = subprocess.run([sys.executable, "-m", "bamac", "--help"], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0
    for name in ("run", "train", "evaluate", "export", "compile", "verilog", "simulate", "inspect",
                 "diff", "demo"):
        assert f"  {name} " in done.stdout


def test_help_imports_nothing_heavy():
    code = ("import sys\nfrom bamac.cli.main import main\ntry:\n    main(['--help'])\n"
            "except SystemExit:\n    pass\n"
            "heavy = {'torch', 'numpy', 'librosa', 'amaranth', 'onnx', 'matplotlib'}\n"
            "print(sorted(heavy & set(sys.modules)), file=sys.stderr)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


@pytest.mark.parametrize("name", ["run", "evaluate", "export", "compile", "verilog", "simulate",
                                  "inspect", "diff", "demo", "report", "train", "synth", "host",
                                  "simulate-board"])
def test_every_command_has_help_with_an_example(name, run):
    ran = run(name, "--help")
    assert ran.code == 0
    assert f"Example: bamac {name}" in ran.out or "Example: bamac run" in ran.out
    assert "--json" in ran.out


def test_run_gives_the_reference_score(model, clip, run, simulator, tmp_path):
    report = tmp_path / "report.html"
    result = run("run", clip, "--model", model, "--report", report, "--json").json
    assert result["bit_exact"] and result["score"] == result["reference_score"]
    assert result["cycles"] == result["predicted_cycles"] > 0
    assert [layer["name"] for layer in result["layers"]] == ["conv1", "conv2", "dense1", "dense2"]
    assert all(layer["bit_exact"] and layer["compared"] for layer in result["layers"])
    for columns in result["traffic"].values():
        assert columns["counted"] == columns["predicted"]
        assert columns["lower_bound"]["bytes"] <= columns["counted"]["bytes"]
    assert result["windows"] == 1 and result["clip"] == "clip.wav"
    assert result["real_time_factor"] == pytest.approx(
        5 / (result["cycles"] / 25e6), rel=1e-9)
    assert "<!doctype html>" in report.read_text()
    assert "torch" not in result["versions"]


def test_longer_clip_is_the_mean_of_its_windows(model, run, simulator, tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.random.default_rng(2).normal(0, 0.05, 170_000), 16_000)
    result = run("run", path, "--model", model, "--json").json
    assert result["windows"] == 3
    assert result["score"] == pytest.approx(np.mean([s[0] for s in result["scores"]]))


def test_summary_says_the_main_thing_first(model, clip, run, simulator):
    ran = run("run", clip, "--model", model)
    assert ran.code == 0
    assert "bit-exact" in ran.out.strip().splitlines()[0]
    assert ran.err.splitlines()[0] == "computing features"


def test_simulate_gives_the_raw_outputs(program, frames, run, simulator):
    result = run("simulate", program, "--input", frames, "--json").json
    from bamac.ir import reference

    expected = reference.run(small_network(), np.load(frames)).outputs.tolist()
    assert result["outputs"] == [expected]
    assert result["bit_exact"]


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int64, np.uint8])
def test_frames_of_any_integer_type(dtype, program, run, simulator, tmp_path):
    values = np.random.default_rng(3).integers(0, 128, (2, 249, 120))
    np.save(tmp_path / "f.npy", values.astype(dtype))
    result = run("simulate", program, "--input", tmp_path / "f.npy", "--json").json
    assert result["windows"] == len(result["outputs"]) == 2


def test_trace_and_diff(program, frames, run, simulator, tmp_path):
    a, b = tmp_path / "a.npz", tmp_path / "b.npz"
    assert run("simulate", program, "--input", frames, "--trace", a).code == 0
    network = small_network()
    from bamac.ir import reference

    values = np.load(frames)
    trace.save(trace.from_reference(network, values, reference.run(network, values)), b)
    ran = run("diff", a, b)
    assert (ran.code, ran.out) == (0, "equal\n")
    assert trace.load(a).source == "rtl"
    spoilt = trace.load(b)
    spoilt.layers["conv2"]["bits"][1, 2, 3] ^= 1
    trace.save(spoilt, b)
    ran = run("diff", a, b, "--tile", "2x2", "--json")
    assert ran.code == 1
    first = ran.json["first"]
    assert (first["layer"], first["row"], first["col"], first["channel"], first["tile"]) == (
        "conv2", 2, 3, 1, [1, 1])


def spoil_bit(result):
    result.trace[0]["conv2"]["bits"][1, 2, 3] ^= 1


def spoil_score(result):
    result.outputs = result.outputs + 1


def spoil_cycles(result):
    result.cycles += 1


def spoil_counter(result):
    result.counters[1]["line_reads"] += 1


def spoil_events(result):
    result.counters[0]["events"] -= 1


@pytest.mark.parametrize("change, sentence", [
    (spoil_bit, "window 0, layer conv2, row 2, col 3, channel 1 (tile 1, 1): bits "),
    (spoil_score, "window 0: raw outputs "), (spoil_cycles, " cycles counted, "),
    (spoil_counter, "layer conv2: line_reads "), (spoil_events, "layer conv1: events ")])
def test_any_difference_fails_the_check(change, sentence, program, frames, run, simulator):
    simulator(change)
    ran = run("simulate", program, "--input", frames, "--json")
    assert ran.code == 1
    assert not ran.json["bit_exact"]
    assert sentence in ran.json["differences"][0]
    exact = {layer["name"]: layer["bit_exact"] for layer in ran.json["layers"]}
    assert exact["conv2"] == (change is not spoil_bit)
    assert exact["dense2"] == (change is not spoil_score)


def test_export_compile_inspect_verilog(model, program, run, tmp_path):
    again = tmp_path / "again.onnx"
    assert run("export", model, "-o", again).code == 0
    assert again.read_bytes() == model.read_bytes()
    about = run("inspect", model, "--json").json
    assert (about["kind"], about["name"]) == ("network", "small-net")
    about = run("inspect", program, "--json").json
    assert about["kind"] == "program" and about["predicted_cycles"] > 0
    assert "layer 0 conv1" in run("inspect", program, "--listing").out
    assert "conv1" in run("inspect", program).out and "conv1" in run("inspect", model).out
    assert run("inspect", "small", "--json").json["lanes"] == 128
    verilog = tmp_path / "a.v"
    assert run("verilog", "--array", "tiny", "-o", verilog).code == 0
    assert "module bamac_accelerator" in verilog.read_text()


def test_same_model_and_array_give_the_same_program(model, program, run, tmp_path):
    other = tmp_path / "other.bamac"
    assert run("compile", model, "-o", other).code == 0
    names = sorted(p.name for p in program.iterdir())
    assert names == sorted(p.name for p in other.iterdir())
    for name in names:
        assert (program / name).read_bytes() == (other / name).read_bytes(), name


def test_report_from_saved_json(model, clip, run, simulator, tmp_path):
    saved = tmp_path / "result.json"
    saved.write_text(run("run", clip, "--model", model, "--json").out)
    assert run("report", saved, "-o", tmp_path / "r.html").code == 0
    assert "bit-exact" in (tmp_path / "r.html").read_text()


def test_python_calls(model, monkeypatch):
    import bamac

    network = bamac.load_model(model)
    program = bamac.compile_network(network, bamac.Geometry.preset("small"))
    assert bamac.predict(program)["cycles"] > 0
    with pytest.raises(AttributeError, match="^module 'bamac' has no attribute 'nothing'$"):
        _ = bamac.nothing
