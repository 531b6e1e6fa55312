"""Bad input: one sentence, exit code 2, nothing half-written."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from command_line import NO_MODEL, refused, small_network

from bamac import load
from bamac.ir import random_networks
from bamac.ir.network import FrontEnd
from bamac.qonnx import exporter as qonnx_export


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
