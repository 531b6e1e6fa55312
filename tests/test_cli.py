import json
import os
import subprocess
import sys
from pathlib import Path

import fake_simulator
import numpy as np
import pytest
import soundfile

from bamac import load
from bamac.cli.main import main
from bamac.frontends import log_mel as features
from bamac.ir import random_networks, trace
from bamac.ir.network import Conv2d, Dense, FrontEnd, InputSpec, IntegerNetwork
from bamac.qonnx import exporter as qonnx_export
from bamac.shipped import shipped_models

NO_MODEL = ("Model {} does not exist; make one with 'bamac train', or name one that ships with "
            f"bamac: {', '.join(shipped_models())}")
FRONT_END = FrontEnd(features.FRONT_END, features.OFFSET, features.STEPS)


def small_network(rows=249, cols=120, front_end=FRONT_END, channels=5, kernel=3, stride=2,
                  pool=(2, 2), outputs=1):
    rng = np.random.default_rng(1)
    convs = [Conv2d("conv1", rng.integers(-127, 128, (channels, 1, kernel, kernel)),
                    rng.integers(-9000, 9000, channels), stride, pool=pool),
             Conv2d("conv2", rng.integers(-127, 128, (3, channels, 3, 3)), np.zeros(3, int), 2,
                    (1, 1, 1, 1), global_pool="sum")]
    denses = [Dense("dense1", rng.integers(-127, 128, (4, 3)), np.full(4, 200), "unsigned", 8, 6),
              Dense("dense2", rng.integers(-127, 128, (outputs, 4)), np.full(outputs, 3))]
    return IntegerNetwork("small-net", InputSpec(rows, cols), (*convs, *denses), 2.0**-8, 2.5,
                          front_end)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "net.onnx"
    qonnx_export.export(small_network(), path)
    return path


@pytest.fixture
def program(model, tmp_path, run):
    path = tmp_path / "net.bamac"
    assert run("compile", model, "-o", path).code == 0
    return path


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.wav"
    soundfile.write(path, np.random.default_rng(2).normal(0, 0.05, 80_000), 16_000)
    return path


@pytest.fixture
def frames(tmp_path):
    path = tmp_path / "frames.npy"
    np.save(path, np.random.default_rng(3).integers(-128, 128, (249, 120)).astype(np.int8))
    return path


class Ran:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def json(self):
        assert self.out.count("\n") == 1
        return json.loads(self.out)


@pytest.fixture
def run(capfd):
    def call(*args):
        capfd.readouterr()
        with pytest.raises(SystemExit) as leave:
            main([str(arg) for arg in args])
        return Ran(leave.value.code, *capfd.readouterr())
    return call


@pytest.fixture
def simulator(monkeypatch):
    def install(change=None):
        network = small_network()
        monkeypatch.setitem(sys.modules, "bamac_sim.simulate",
                            fake_simulator.module({network.digest(): network}, change))
    install()
    return install


def refused(ran, message):
    """One sentence on stderr, nothing on stdout, exit code 2."""
    assert ran.err == f"error: {message}\n"
    assert (ran.code, ran.out) == (2, "")


# --- what works


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


# --- bad input: one sentence, exit code 2, nothing half-written


def write_audio(path, samples, rate=16_000, **options):
    soundfile.write(path, np.asarray(samples, float), rate, **options)


BAD_AUDIO = {
    "missing": (lambda p: None, "{p} does not exist; check the path"),
    "empty": (lambda p: p.write_bytes(b""), "{p} is empty (0 bytes); give a wav or flac file"),
    "text": (lambda p: p.write_text("this is no audio\n" * 30),
             "{p} cannot be read as audio (Format not recognised); give a wav, flac or ogg file"),
    "one sample": (lambda p: write_audio(p, [0.5]),
                   "{p} lasts 1 samples at 16 kHz, less than 0.1 s; give a longer recording"),
    "no samples": (lambda p: write_audio(p, []),
                   "{p} holds no samples; give a recording of at least 0.1 s"),
    "silent": (lambda p: write_audio(p, np.zeros(16_000)),
               "{p} is silent (largest sample 0.0e+00 of full scale, less than -80 dB); give a "
               "recording with speech in it"),
    "NaN": (lambda p: write_audio(p, [0.1, np.nan] * 8000, subtype="FLOAT"),
            "{p} holds 8000 samples that are NaN or infinite; write it again as 16-bit or clean "
            "float audio"),
    "folder": (lambda p: p.mkdir(), "{p} is a folder; name one audio file in it"),
}


@pytest.mark.parametrize("what", BAD_AUDIO)
def test_bad_audio(what, model, program, run, simulator, tmp_path):
    make, message = BAD_AUDIO[what]
    path = tmp_path / "bad.wav"
    make(path)
    report = tmp_path / "report.html"
    refused(run("run", path, "--model", model, "--report", report, "--json"),
            message.format(p=path))
    refused(run("simulate", program, "--input", path, "--json"), message.format(p=path))
    assert not report.exists()


def save(array):
    return lambda p: np.save(p, array)


BAD_FRAMES = {
    "missing": (lambda p: None, "Input {p} does not exist; check the path"),
    "shape": (save(np.zeros((120, 249), np.int8)), "{p}: Frames must be 249 x 120, not 120 x 249"),
    "one dimension": (save(np.zeros(249, np.int8)),
                      "{p}: frames must be 249 x 120, or windows of that, not of shape (249,)"),
    "no windows": (save(np.zeros((0, 249, 120), np.int8)),
                   "{p}: frames must be 249 x 120, or windows of that, not of shape (0, 249, 120)"),
    "real": (save(np.zeros((249, 120))), "{p}: Frames must be integers, not float64"),
    "range": (save(np.full((249, 120), 128)), "{p}: Frames must be in -128..127, not 128..128"),
    "text": (lambda p: p.write_text("hello, world"),
             "{p} is not an .npy file of integers, or is damaged (the magic string is not correct; "
             "expected b'\\x93NUMPY', got b'hello,')"),
    "objects": (save(np.array([{}], object)),
                "{p} is not an .npy file of integers, or is damaged (Object arrays cannot be "
                "loaded when allow_pickle=False)"),
}


@pytest.mark.parametrize("what", BAD_FRAMES)
def test_bad_frames(what, program, run, simulator, tmp_path):
    make, message = BAD_FRAMES[what]
    path = tmp_path / "bad.npy"
    make(path)
    refused(run("simulate", program, "--input", path, "--json"), message.format(p=path))


def test_truncated_frames(program, frames, run, simulator):
    content = frames.read_bytes()
    for size in (0, 5, 60, 130, len(content) - 1):
        frames.write_bytes(content[:size])
        ran = run("simulate", program, "--input", frames)
        assert ran.code == 2 and "is not an .npy file of integers, or is damaged" in ran.err
        assert ran.err.count("\n") == 1


def test_bad_models(model, clip, run, tmp_path):
    content = model.read_bytes()
    model.write_bytes(content[:len(content) // 2])
    for command in (("run", clip, "--model", model), ("compile", model), ("export", model),
                    ("inspect", model)):
        ran = run(*command)
        assert ran.code == 2 and ran.out == "", command
        assert ran.err.startswith(f"error: {model}: not an ONNX model, or damaged (")
        assert ran.err.count("\n") == 1
    missing = tmp_path / "none.onnx"
    refused(run("compile", missing), NO_MODEL.format(missing))
    refused(run("run", clip, "--model", clip), f"Model must be an .onnx or .pt file, not {clip}")
    foreign = tmp_path / "x.pt"
    foreign.write_bytes(b"no checkpoint")
    refused(run("compile", foreign), f"{foreign} is not a checkpoint or is damaged; make it again "
                                     "with `bamac train`")


def test_unmappable_layer_is_named(run, tmp_path):
    path = tmp_path / "net.onnx"
    qonnx_export.export(small_network(pool=(3, 3)), path)
    output = tmp_path / "net.bamac"
    ran = run("compile", path, "-o", output)
    assert ran.code == 2
    assert ran.err.startswith("error: conv1: ")
    assert not output.exists()


def test_too_large_network_names_size_and_preset(run, tmp_path):
    path = tmp_path / "net.onnx"
    network = random_networks.paper_network(rows=24, cols=700).network
    qonnx_export.export(network, path)
    output = tmp_path / "net.bamac"
    ran = run("compile", path, "-o", output)
    assert ran.code == 2
    assert "do not fit array small, which has" in ran.err
    assert ran.err.count("\n") == 1
    assert not output.exists()


def test_waves_of_an_unknown_kind(program, frames, run, simulator, tmp_path):
    refused(run("simulate", program, "--input", frames, "--waves", tmp_path / "w.txt"),
            f"Waves must be a .fst, .vcd, .saif file, not {tmp_path / 'w.txt'}")


def test_array_without_counters_is_not_checked(model, clip, run, simulator, tmp_path):
    path = tmp_path / "g.toml"
    path.write_text("counters = false\n")
    refused(run("run", clip, "--model", model, "--array", path, "--json"),
            "Array g must have counters to be checked cycle by cycle; they never change the timing")


def test_network_without_front_end_takes_no_audio(clip, run, simulator, tmp_path):
    path = tmp_path / "net.onnx"
    qonnx_export.export(small_network(front_end=FrontEnd()), path)
    refused(run("run", clip, "--model", path, "--json"),
            "Network small-net reads integer frames and names no front end for audio; give it "
            "frames as an .npy file with 'bamac simulate'")


def test_bad_geometries(model, run, tmp_path):
    ran = run("compile", model, "--array", "huge")
    assert ran.code == 2 and ran.err.startswith("error: Array preset must be one of tiny, small, ")
    path = tmp_path / "g.toml"
    path.write_text("channels = 33\n")
    refused(run("compile", model, "--array", path),
            "channels must be one of 4, 8, 16, 32, 64, not 33")


def test_damaged_programs(program, frames, run, simulator, tmp_path):
    weights = program / "weights.bin"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1])
    refused(run("simulate", program, "--input", frames),
            f"Program {program} is damaged: weights.bin does not match its checksum; compile the "
            "network again")
    weights.write_bytes(content)
    manifest = program / "manifest.json"
    text = manifest.read_text()
    manifest.write_text(text[:100])
    ran = run("inspect", program)
    assert ran.code == 2 and ran.err.startswith(f"error: Program {program} has a damaged manifest")
    manifest.write_text(text)
    network = program / "network.onnx"
    qonnx_export.export(small_network(channels=4), network)
    refused(run("simulate", program, "--input", frames),
            f"Program {program} is damaged: network.onnx is not the network that the program was "
            "compiled from")
    network.unlink()
    refused(run("simulate", program, "--input", frames),
            f"Program {program} holds no copy of its network; name it with --model")
    ran = run("simulate", tmp_path, "--input", frames)
    assert ran.code == 2 and ran.err.startswith(f"error: No program at {tmp_path}; ")


def test_program_of_another_geometry(program, run, tmp_path):
    output = tmp_path / "a.v"
    refused(run("verilog", "--array", "tiny", "--program", program, "-o", output),
            "Program is for geometry small, not for tiny")
    assert not output.exists()


def test_model_other_than_the_programs(program, frames, run, simulator, tmp_path):
    other = tmp_path / "other.onnx"
    qonnx_export.export(small_network(channels=4), other)
    refused(run("simulate", program, "--input", frames, "--model", other),
            f"Model {other} is not the network that the program was compiled from")


def test_missing_tool(program, frames, run, monkeypatch):
    import types

    from bamac_sim.toolchain import ToolError

    def simulate(*_args, **_options):
        raise ToolError("No C++ compiler found;\ninstall one, such as Debian's package g++")

    fake = types.ModuleType("bamac_sim.simulate")
    fake.simulate = simulate
    monkeypatch.setitem(sys.modules, "bamac_sim.simulate", fake)
    refused(run("simulate", program, "--input", frames, "--json"),
            "No C++ compiler found; install one, such as Debian's package g++")


def test_broken_rule_of_the_hardware_is_a_failed_check(program, frames, run, simulator):
    class SimulationError(RuntimeError):
        __module__ = "bamac_sim.simulate"

    def broken(_result):
        raise SimulationError("a payload changed while it was stalled")

    simulator(broken)
    ran = run("simulate", program, "--input", frames, "--json")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "check failed: a payload changed while it was stalled\n"


def test_unwritable_places(model, clip, program, frames, run, simulator, tmp_path):
    none = tmp_path / "none"
    for command in (("export", model, "-o", none / "x.onnx"), ("verilog", "-o", none / "x.v"),
                    ("run", clip, "--model", model, "--report", none / "r.html"),
                    ("simulate", program, "--input", frames, "--trace", none / "t.npz")):
        refused(run(*command), f"Output folder {none} does not exist")
    refused(run("compile", model, "-o", none / "x.bamac"), f"Output folder {none} does not exist")
    refused(run("compile", model, "-o", tmp_path),
            f"{tmp_path} exists and is not a program, so it is not overwritten")
    refused(run("export", model, "-o", tmp_path), f"Output file must not be a folder: {tmp_path}")
    assert not none.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission(model, run, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    refused(run("export", model, "-o", folder / "x.onnx"),
            f"Output folder {folder} is not writable")


def test_interruption_leaves_nothing(model, run, tmp_path, monkeypatch):
    def interrupted(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(qonnx_export, "model", interrupted)
    before = sorted(tmp_path.rglob("*"))
    ran = run("compile", model, "-o", tmp_path / "net.bamac")
    assert ran.code == 130
    assert ran.err == "\ninterrupted: nothing was left half-written\n"  # after the terminal's ^C
    assert sorted(tmp_path.rglob("*")) == before


def test_old_program_survives_an_interruption(model, program, run, monkeypatch):
    before = {p.name: p.read_bytes() for p in program.iterdir()}

    def interrupted(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(qonnx_export, "model", interrupted)
    assert run("compile", model, "-o", program).code == 130
    assert {p.name: p.read_bytes() for p in program.iterdir()} == before
    assert sorted(p.name for p in program.parent.iterdir()) == ["net.bamac", "net.onnx"]


def test_usage_errors_are_one_sentence(run):
    refused(run("run"), "Missing argument 'CLIP'.")
    refused(run("nonsense"), "No such command 'nonsense'.")
    refused(run("diff", "a", "b", "--tile", "2"),
            "Invalid value for '--tile': must be ROWSxCOLS, such as 2x2, not '2'")
    ran = run("run", "x.wav", "--clock-mhz", "0")
    assert ran.code == 2 and ran.err.startswith("error: Invalid value for '--clock-mhz': ")


def test_bad_report_input(run, tmp_path):
    path = tmp_path / "r.json"
    path.write_text("{")
    ran = run("report", path, "-o", tmp_path / "r.html")
    assert ran.code == 2 and ran.err.startswith(f"error: {path} is not JSON (")
    path.write_text("[]")
    refused(run("report", path, "-o", tmp_path / "r.html"), "Result must be an object, not list")
    path.write_text('{"score": 1}')
    ran = run("report", path, "-o", tmp_path / "r.html")
    assert ran.code == 2 and ran.err.startswith("error: Result must hold reference_score, ")
    missing = tmp_path / "none.json"
    refused(run("report", missing, "-o", tmp_path / "r.html"),
            f"{missing}: No such file or directory")
    assert not (tmp_path / "r.html").exists()


def test_a_fault_of_ours_is_told_apart(model, run, monkeypatch):
    def broken(*_args, **_options):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(load, "load_model", broken)
    ran = run("inspect", model)
    assert ran.code == 3
    assert ran.err == ("error: fault in bamac: ZeroDivisionError: division by zero (set "
                       "BAMAC_DEBUG=1 to see where)\n")


def test_tools_that_print_do_not_reach_stdout(program, frames, run, simulator, monkeypatch):
    def noisy(_result):
        os.write(1, b"%Warning: from a tool\n")
        subprocess.run(["echo", "more"], check=True)

    simulator(noisy)
    ran = run("simulate", program, "--input", frames, "--json")
    assert ran.json["bit_exact"]
    assert "%Warning: from a tool\nmore\n" in ran.err


def test_installed_command_is_the_same(tmp_path):
    command = Path(sys.executable).parent / "bamac"
    done = subprocess.run([command, "inspect", "none.onnx"], capture_output=True, text=True,
                          cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {NO_MODEL.format('none.onnx')}\n"
