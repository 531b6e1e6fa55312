"""Measure NNgen and this accelerator on the same two layers, and write ``reports/peers.md``.

``make bench-peers`` or ``python -m benchmarks.peers``. NNgen is installed from PyPI into a separate
environment under ``build/peers``. Finished steps are kept there too.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from bamac.explore import Store
from bamac.explore.evaluate import model_version
from bamac.files import write_text
from bamac.fpga import tools
from bamac_hw.geometry import Geometry
from bamac_hw.verilog import TOP, verilog_text
from bamac_sim.toolchain import find_toolchain

from . import ours
from .area import SCRIPT, luts
from .report import report

HERE = Path(__file__).parent
REPORT = HERE.parents[1] / "reports" / "peers.md"
SIZES, ACT_BITS, CHANNELS = (60, 16), (2, 8), 32
PAR_ICH = PAR_OCH = 4                   # times nine taps: 144 products per cycle
ARRAYS = ("small", "small_event")


def environment(folder):
    """The interpreter of NNgen's environment; makes the environment if it is missing."""
    python = folder / "bin" / "python"
    wanted = (HERE / "requirements.txt").read_text(encoding="utf-8")
    mark = folder / "installed.txt"
    if not mark.is_file() or mark.read_text(encoding="utf-8") != wanted:
        print("installing NNgen", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "-r",
                        str(HERE / "requirements.txt")], check=True)
        write_text(mark, wanted)
    return python


def nngen_run(python, act_bits, size, folder):
    """Counters of one NNgen accelerator under Verilator; its Verilog stays in ``folder``."""
    toolchain = find_toolchain()
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    variables |= toolchain.environment
    variables["MAKEFLAGS"] = variables["MAKEFLAGS"].replace("-O3", "-O1")   # compiles twice as fast
    finished = subprocess.run(
        [str(python), str(HERE / "nngen_layer.py"), "--act-bits", str(act_bits), "--size",
         str(size), "--channels", str(CHANNELS), "--par-ich", str(PAR_ICH), "--par-och",
         str(PAR_OCH), "--folder", str(folder)],
        env=variables, stdout=subprocess.PIPE, text=True, check=True)
    result = json.loads(finished.stdout)
    if result["wrong"]:
        raise RuntimeError(f"NNgen's int{act_bits} accelerator gives {result['wrong']} outputs "
                           f"that are not those of its own software model")
    peak = 9 * PAR_ICH * PAR_OCH
    macs = size * size * CHANNELS * CHANNELS * 9
    compulsory = result["input_bytes"] + result["weight_bytes"] + result["output_bytes"]
    moved = (result["reads"] + result["writes"]) * result["bus_bits"] // 8
    return {"act_bits": act_bits, "size": size, "peak": peak, "macs": macs,
            "cycles": result["cycles"], "utilisation": macs / peak / result["cycles"],
            "bytes": moved, "compulsory_bytes": compulsory,
            "weight_bytes": result["weight_bytes"], "verilog": str(folder / "accelerator.v")}


def known(store, compute, *parts):
    """The cached result of the step that ``parts`` name; else ``compute()``, which is cached."""
    key = store.key(*parts)
    result = store.find(key)
    if result is None:
        print("measuring", *parts[:3], flush=True)
        result = compute()
        store.add(key, result)
    return result


def measure_nngen(build, store, yosys, areas):
    """Rows of NNgen's four accelerators.

    Those with the smaller map that ``areas`` names also have their ``area``.
    """
    script = (HERE / "nngen_layer.py").read_text(encoding="utf-8")
    pins = (HERE / "requirements.txt").read_text(encoding="utf-8")
    python = environment(build / "nngen")
    rows = []
    for act_bits in ACT_BITS:
        for size in SIZES:
            rows.append(known(
                store, lambda a=act_bits, s=size: nngen_run(python, a, s, build / f"int{a}-{s}"),
                "nngen", act_bits, size, CHANNELS, PAR_ICH, PAR_OCH, script, pins))
    for row in rows:
        if row["size"] == min(SIZES) and f"int{row['act_bits']}" in areas:
            path = Path(row["verilog"])
            row["area"] = known(
                store, lambda p=path: luts(p.read_text(encoding="utf-8"), "nngen_layer",
                                           p.parent / "area"),
                "LUTs of nngen", row["act_bits"], min(SIZES), SCRIPT, yosys, script, pins)
    return rows


def measure_ours(build, store, yosys, areas):
    """Rows of each of our arrays and maps; those that ``areas`` names also have their ``area``."""
    script = (HERE / "ours.py").read_text(encoding="utf-8")
    found = []
    for array in ARRAYS:
        rows = known(store, lambda a=array: {"rows": ours.measure(a, SIZES, CHANNELS)}, "ours",
                     array, list(SIZES), CHANNELS, model_version(), script)["rows"]
        found += rows
        if array in areas:
            verilog = verilog_text(Geometry.preset(array), None, family="ecp5")
            area = known(store, lambda v=verilog, a=array: luts(v, TOP, build / f"area-{a}"),
                         "LUTs of ours", array, yosys, SCRIPT, verilog)
            for row in rows:
                row["area"] = area
    return found


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--build", type=Path, default=HERE.parents[1] / "build" / "peers")
    names = [*(f"int{bits}" for bits in ACT_BITS), *ARRAYS]
    parser.add_argument("--area", nargs="*", choices=names, default=names,
                        help="whose LUTs are wanted, if not everyone's: synthesis takes long")
    parser.add_argument("--allow-missed", action="store_true",
                        help="a target that is missed stands in the report, and fails nothing")
    arguments = parser.parse_args()
    build = arguments.build.absolute()
    build.mkdir(parents=True, exist_ok=True)
    store, yosys = Store(build / "results"), tools.find("yosys").version
    mine = measure_ours(build, store, yosys, arguments.area)
    peers = measure_nngen(build, store, yosys, arguments.area)
    pins = (HERE / "requirements.txt").read_text(encoding="utf-8")
    command = "make bench-peers" if len(sys.argv) == 1 else \
        "python -m benchmarks.peers " + " ".join(sys.argv[1:])
    about = {"command": command, "date": time.strftime("%Y-%m-%d"),
             "python": platform.python_version(), "bamac": version("bamac"),
             "verilator": version("verilator"), "yosys": yosys,
             "nngen": next(line for line in pins.splitlines() if line.startswith("nngen"))}
    missed = report(REPORT, peers, mine, about)
    return 1 if missed and not arguments.allow_missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
