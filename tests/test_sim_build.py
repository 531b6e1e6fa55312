"""Builds of the simulator: cached, safe against interruption, with their reasons on failure."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bamac_hw.geometry import Geometry
from bamac_hw.verilog import TOP
from bamac_sim import build as build_module
from bamac_sim.build import BuildError, Runner, build, wave_format
from bamac_sim.toolchain import find_toolchain

GEOMETRY = Geometry("least", tile_rows=1, tile_cols=1, channels=4, acc_bits=16, weight_rows=16,
                    input_words=16, line_words=4, vector_words=4, max_layers=2)

STUB = f"""
module {TOP}(clk, rst, count);
  input clk; input rst; output reg [3:0] count;
  wire [3:0] inner = count + 4'd1;
  always @(posedge clk) count <= rst ? 4'd0 : inner;
endmodule
"""


@pytest.fixture
def stub(monkeypatch):
    """A counter in the accelerator's place; returns the list of calls, and takes other text."""
    calls = []

    def write_verilog(geometry, path, *, trace, accumulators):
        calls.append((geometry.name, trace, accumulators))
        path.write_text(write_verilog.text)

    write_verilog.text = STUB
    write_verilog.calls = calls
    monkeypatch.setattr(build_module, "write_verilog", write_verilog)
    return write_verilog


def leftovers(cache):
    return [path.name for path in cache.iterdir() if "partial" in path.name]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Folder with Verilator's compiled library, which is most of the time of a small build."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture
def cache(tmp_path, compiled):
    """An empty cache of builds, but for that library."""
    for library in compiled.iterdir():
        shutil.copytree(library, tmp_path / library.name)
    yield tmp_path
    for library in tmp_path.glob("library-*"):
        if not (compiled / library.name).exists():
            shutil.copytree(library, compiled / library.name)


def test_second_build_is_the_first(stub, cache):
    first = build(GEOMETRY, build_dir=cache)
    assert first.executable.is_file() and first.verilog.read_text() == STUB
    assert not first.reused and first.trace and not first.accumulators
    second = build(GEOMETRY, build_dir=cache)
    assert second.reused and second.folder == first.folder
    assert len(stub.calls) == 1
    # Ports are public, what is inside is not
    control = (first.folder / "ports.vlt").read_text()
    assert '-var "count"' in control and "inner" not in control
    assert "--public-flat-rw" not in (first.folder / "build.log").read_text()
    assert not leftovers(cache)


def test_python3_alone_on_the_path_is_enough(stub, cache, tmp_path_factory, monkeypatch):
    """Debian has a python3 and no python, which is what Verilator's makefile calls."""
    tools = tmp_path_factory.mktemp("tools")
    for folder in os.environ["PATH"].split(os.pathsep):
        for tool in Path(folder).glob("*"):
            if not tool.name.startswith("python") and not (tools / tool.name).exists():
                (tools / tool.name).symlink_to(tool)
    (tools / "python3").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setattr(sys, "executable", str(tools / "python3"))
    assert build(GEOMETRY, build_dir=cache).executable.is_file()


def test_changed_gateware_is_built_again(stub, cache, monkeypatch):
    first = build(GEOMETRY, build_dir=cache)
    stub.text = STUB.replace("4'd1", "4'd3")
    monkeypatch.setattr(build_module, "gateware_digest", lambda: "another")
    second = build(GEOMETRY, build_dir=cache)
    assert not second.reused and second.folder != first.folder


def test_names_in_comments_make_no_new_build(stub, cache):
    first = build(GEOMETRY, build_dir=cache)
    for path in cache.glob("*.v"):
        path.unlink()
    stub.text = "// another name\n" + STUB
    assert build(GEOMETRY, build_dir=cache).folder == first.folder


def test_builds_at_the_same_time_make_one(stub, cache):
    with ThreadPoolExecutor(2) as pool:
        built = list(pool.map(lambda _: build(GEOMETRY, build_dir=cache), range(2)))
    assert sorted(b.reused for b in built) == [False, True]
    assert built[0].folder == built[1].folder and built[0].executable.is_file()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_interrupted_build_leaves_nothing(stub, cache, monkeypatch, error):
    def interrupted(*_args, **_options):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(build_module.Runner, "_execute_cmds", interrupted)
        with pytest.raises(error):
            build(GEOMETRY, build_dir=cache)
    assert not leftovers(cache)
    assert not list(cache.glob(f"*/{TOP}"))
    assert not build(GEOMETRY, build_dir=cache).reused


def test_remains_of_a_killed_build_are_removed(stub, cache, monkeypatch):
    first = build(GEOMETRY, build_dir=cache)
    first.executable.unlink()
    (cache / f"{first.folder.name}.partial-killed").mkdir()
    assert build(GEOMETRY, build_dir=cache).executable.is_file()
    assert not leftovers(cache)


def test_broken_verilog_names_the_log(stub, cache):
    stub.text = STUB.replace("endmodule", "")
    with pytest.raises(BuildError, match=r"^The simulator could not be built; see (.*\.log)$") as e:
        build(GEOMETRY, build_dir=cache)
    log = str(e.value).rpartition("see ")[2]
    with open(log) as file:
        assert "syntax error" in file.read()
    assert not leftovers(cache)


def test_verilog_without_the_top_module(stub, cache):
    stub.text = STUB.replace(TOP, "other")
    with pytest.raises(BuildError, match=f"^The generated Verilog has no module {TOP}$"):
        build(GEOMETRY, build_dir=cache)


def test_wave_formats(monkeypatch, caplog):
    toolchain = find_toolchain()
    headers = {"lz4.h": True}
    monkeypatch.setattr(type(toolchain), "has_header",
                        lambda self, *names: all(headers.get(name, True) for name in names))
    assert wave_format(False, toolchain) is None
    assert wave_format(True, toolchain) == "fst"
    assert wave_format("fst", toolchain) == "fst"
    assert not caplog.records
    headers["lz4.h"] = False
    assert wave_format(True, toolchain) == "vcd"
    assert "install liblz4-dev and zlib1g-dev" in caplog.text
    with pytest.raises(BuildError) as error:
        wave_format("fst", toolchain)
    assert str(error.value) == ("FST waves need the headers lz4.h and zlib.h; "
                                "install liblz4-dev and zlib1g-dev, or use VCD")
    with pytest.raises(ValueError, match="^Waves must be True, False or one of fst, vcd, saif, "
                                         "not 'png'$"):
        wave_format("png", toolchain)


def test_interrupted_run_ends_its_process(tmp_path):
    """The simulator does not outlive the call that started it."""
    processes = []

    def stop():
        raise KeyboardInterrupt

    original = subprocess.Popen

    class Recorded(original):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            processes.append(self)

    runner = Runner(find_toolchain(), watch=stop)
    runner.env = {}
    subprocess.Popen = Recorded
    try:
        with pytest.raises(KeyboardInterrupt):
            runner._execute_cmds([[sys.executable, "-c", "import time; time.sleep(60)"]], tmp_path)
    finally:
        subprocess.Popen = original
    assert len(processes) == 1 and processes[0].poll() is not None


def test_another_design_has_no_trace_ports(tmp_path):
    with pytest.raises(ValueError, match="^Another design's Verilog has no trace ports: give "
                                         "trace=False$"):
        build(GEOMETRY, verilog="module m; endmodule", build_dir=tmp_path)
