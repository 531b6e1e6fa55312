"""The activity-based energy of a design, from the cache or simulated anew."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from bamac import load
from bamac.fpga import FpgaError, activity, gates, implement, power
from bamac.fpga.cache import Cache
from bamac.fpga.targets import Target
from bamac.ir import reference
from bamac.perf.cycles import predict
from bamac.result import versions
from bamac_hw.verilog import TOP

from .missing import Missing, NotKept, ReadOnlyCache
from .modules import by_instance
from .samples import results_cache

__all__ = ["activity_of"]


def activity_of(program, network, clip, options, say):
    """See :func:`bamac.fpga.power.estimate_energy`, with ``clip`` and ``target``; or Missing.

    The netlist is mapped for an ECP5 with the program in it.
    """
    target = Target.named(options.target)
    if target.family != "ecp5":
        return Missing(f"not measured: gate-level activity is counted on ECP5 alone, not on "
                       f"{target.name}")
    wanted = Missing("not measured; run this command with `--activity` (it simulates the mapped "
                     "netlist, which takes minutes)")
    try:
        if options.activity:
            say(f"mapping {program.geometry.name} for {target.name}")
        mapped = implement(program.geometry, target, program=program, place=False,
                           cache=Cache() if options.activity else ReadOnlyCache())
    except NotKept:
        return wanted
    except FpgaError as error:
        return Missing(str(error))
    netlist_path = Path(mapped["netlist"])
    frames, _ = load.frames_of_clip(network.input, network.name, network.front_end, clip)
    cache = results_cache()
    key = cache.key(netlist_path.parent.name, hashlib.sha256(frames[0].tobytes()).hexdigest(),
                    versions()["verilator"])
    if cache.find("toggles", key) is None and not options.activity:
        return wanted

    def make(temporary):
        say(f"simulating the mapped netlist of {program.geometry.name} on {Path(clip).name}")
        expected = (reference.run(network, frames[0]).outputs,
                    predict(program, network, frames[:1])["cycles"])
        counted = activity.count_toggles(netlist_path, program, frames[:1], expected)
        activity.save(counted, temporary / "toggles.json")

    folder = cache.get("toggles", key, make)
    owners = json.loads((netlist_path.parent / "owners.json").read_text(encoding="utf-8"))
    result = power.estimate_energy(gates.load_netlist(netlist_path, TOP), owners,
                                   by_instance(mapped["modules"]),
                                   activity.load(folder / "toggles.json"))
    return result | {"clip": Path(clip).name, "target": target.name}
