"""How often each net of a mapped design toggles while a clip runs, and what that may cost.

The netlist that Yosys mapped (ECP5) is simulated in Verilator at gate level, without delays, with
the program in the memories' initial contents; Verilator counts toggles and times at 1 (SAIF).
Reset, the host's few accesses before and after the clip are in the counts.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import numpy as np

from bamac.errors import FpgaError
from bamac_hw.verilog import TOP

from . import gates

__all__ = ["NetActivity", "count_toggles", "read_saif"]

_NET = re.compile(r"\(n(\d+)\s+\(T0 (\d+)\)\s*\(T1 (\d+)\)\s*\(TZ \d+\)\s*\(TX \d+\)\s*"
                  r"(?:\(TB \d+\)\s*)?\(TC (\d+)\)")
CLOCK_PERIOD_STEPS = 10_000
"""Time steps (1 ps) of a clock period in the simulation."""


class NetActivity(dict):
    """``{net number: (toggles, share of time at 1)}``, and ``cycles`` simulated."""

    def __init__(self, nets, cycles):
        super().__init__(nets)
        self.cycles = cycles


def read_saif(text):
    """Counts of the nets ``nN`` in SAIF, as Verilator writes it.

    Raises
    ------
    FpgaError
        If there are none.
    """
    nets = {}
    for net, low, high, toggles in _NET.findall(text):
        total = int(low) + int(high)
        nets[int(net)] = int(toggles), int(high) / total if total else 0.0
    if not nets:
        raise FpgaError("SAIF file must hold nets named nN, but has none")
    duration = re.search(r"\(DURATION (\d+)\)", text)
    return NetActivity(nets, int(duration[1]) / CLOCK_PERIOD_STEPS)


def count_toggles(netlist_path, program, frames, expected, progress=None):
    """Simulate a mapped netlist on one clip.

    Parameters
    ----------
    netlist_path : path of Yosys' JSON, ``netlist`` of :func:`bamac.fpga.flow.implement`
    program : Program
        The one in the netlist's memories.
    frames : int array (rows, cols)
    expected : ``(outputs, cycles)``
        Of the reference and the model: the netlist must give both.
    progress : called with the fraction done and the cycles so far

    Returns
    -------
    NetActivity

    Raises
    ------
    FpgaError
        If the netlist gives another score or takes other cycles.
    """
    from bamac_sim.simulate import simulate

    verilog = gates.simulation_verilog(gates.load_netlist(netlist_path, TOP), TOP)
    with tempfile.TemporaryDirectory() as folder:
        saif = Path(folder) / "clip.saif"
        result = simulate(program, frames, trace=False, verilog=verilog, loaded=True, waves=saif,
                          progress=progress)
        outputs, cycles = expected
        if not np.array_equal(result.outputs[0], outputs) or result.cycles != cycles:
            raise FpgaError(f"Mapped netlist must give outputs {list(outputs)} in {cycles} cycles, "
                            f"not {result.outputs[0].tolist()} in {result.cycles}")
        return read_saif(saif.read_text(encoding="utf-8"))


def save(activity, path):
    """Write counts as JSON."""
    Path(path).write_text(json.dumps({"cycles": activity.cycles, "nets": activity}),
                          encoding="utf-8")


def load(path):
    """Read what :func:`save` wrote."""
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    return NetActivity({int(net): tuple(value) for net, value in content["nets"].items()},
                       content["cycles"])
