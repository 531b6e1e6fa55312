"""The whole flow: Verilog, synthesis, place and route for several seeds, and one result."""

import json
import statistics

from bamac.errors import FpgaError, GivenUp
from bamac_hw.verilog import TOP, verilog_text

from . import nextpnr, pins, shell, tools, yosys
from .cache import Cache
from .targets import Target

__all__ = ["SEED_LIMIT", "implement", "implement_verilog", "mapped"]

SEED_LIMIT = 1200  # seconds; a seed of ``small`` takes 2 minutes on a core of its own

_VERSION = 2  # of the files in the cache
_WORDS = {"lut": "LUTs", "ff": "flip-flops", "bram": "block RAMs", "spram": "SPRAMs",
          "dsp": "DSPs"}


def implement(geometry, target=None, *, board=None, baud=None, program=None, place=True, seeds=1,
              seed_limit=SEED_LIMIT, clock_mhz=None, cache=None, progress=None):
    """Implement an accelerator for a device, or the complete top of a board.

    Parameters
    ----------
    geometry : Geometry
    target : Target or str
        Not with ``board``, which has its own.
    board : bamac_hw.boards.Board, optional
    baud : int, optional
        Of the board's serial port; default: the board's.
    program : Program, optional
        Goes into the memories' initial contents, where the device's memories have any (the
        SPRAMs of iCE40 have none: there the host loads the program).
    place : bool
        Whether to go on after mapping.
    seeds : int
        Placer seeds 1..seeds; each is a run of its own, and kept in the cache.
    seed_limit : float
        Seconds after which a seed is given up; the others go on. The router makes no progress on
        some placements.
    clock_mhz : float, optional
        Clock to be met; default: the target's, or the one that the board makes.
    cache : Cache, optional
    progress : callable, optional
        Called with (what, stage): the step under way, such as ``seed 1``, and its stage.

    Returns
    -------
    dict
        Plain values. ``board``: its name, or None; ``resources`` and ``modules`` after mapping,
        ``netlist``: path of what was mapped, Yosys' JSON;
        ``seeds``: each seed's Fmax, use, path, and ``given_up_s`` (None unless it was given up:
        then there is nothing else); ``fmax_mhz``: see :func:`spread`; ``best``: the seed with the
        highest Fmax; ``timing_met``: whether that one meets the clock; ``bitstream``: its path.
        The last five are None for a target without place and route.

    Raises
    ------
    FpgaError
        If the design does not fit (with what is over, and by how much), or a tool fails.
        ``GivenUp`` if every seed took too long.
    """
    if board is not None:
        target = Target.named(board.target).at(board.clock_hz / 1e6)
    target = Target.named(target) if isinstance(target, str) else target
    baked = program if target.family != "ice40" else None
    if progress:
        progress("Verilog", "generating")
    if board is not None:
        verilog, top = board.verilog(geometry, baked, baud=baud), board.module
        constraints = pins.constraints(board, target.family)
    else:
        verilog, top = verilog_text(geometry, baked, family=_family(target)), TOP
        constraints = ""
    about = {"board": board.name if board else None, "geometry": geometry.to_dict(),
             "geometry_digest": geometry.digest(), "program": baked is not None}
    return about | implement_verilog(verilog, top, target, constraints=constraints, place=place,
                                     seeds=seeds, seed_limit=seed_limit, clock_mhz=clock_mhz,
                                     cache=cache, progress=progress)


def implement_verilog(verilog, top, target, *, constraints="", place=True, seeds=1,
                      seed_limit=SEED_LIMIT, clock_mhz=None, cache=None, progress=None):
    """Implement module ``top`` of machine-written Verilog: see :func:`implement`.

    ``constraints`` is the text of a pin file; without one, pins are where the placer likes, in a
    serial shell if there are too many. Without ``place``, it stops after mapping.
    """
    target = Target.named(target) if isinstance(target, str) else target
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
        raise FpgaError(f"Seeds must be a positive integer, not {seeds!r}")
    if isinstance(seed_limit, bool) or not 0 < seed_limit:
        raise FpgaError(f"Time limit of a seed must be positive, not {seed_limit!r}")
    if clock_mhz is not None:
        if not 0 < clock_mhz < 1000:
            raise FpgaError(f"Clock must be between 0 and 1000 MHz, not {clock_mhz!r}")
        target = target.at(clock_mhz)
    cache = cache or Cache()
    progress = progress or (lambda what, stage: None)

    place = place and target.placed
    in_shell = place and not constraints and _pin_count(verilog, top) > target.pins
    if in_shell:
        verilog, top = shell.wrap(verilog, top)

    folder, synthesis = _synthesise(verilog, top, target, cache, progress)
    modules = _without_shell(synthesis["modules"]) if in_shell else synthesis["modules"]
    result = {
        "target": target.to_dict(), "pin_shell": in_shell, "tools": {"yosys": synthesis["tool"]},
        "resources": synthesis["total"], "modules": modules,
        "netlist": str(folder / "netlist.json"), "seeds": None, "fmax_mhz": None, "best": None,
        "timing_met": None, "bitstream": None,
    }
    if not place:
        return result
    _check_fit(synthesis["total"], target)

    runs = []
    for seed in range(1, seeds + 1):
        runs.append(_route(folder, target, seed, seed_limit, constraints, cache, progress))
    complete = [run for run in runs if run[0]["given_up_s"] is None]
    if not complete:
        raise GivenUp(f"Place and route was given up after {seed_limit:g} s with every seed "
                      f"(1 to {seeds}): allow more time, or more seeds")
    best, routed = max(complete, key=lambda run: run[0]["fmax_mhz"])
    result["tools"]["nextpnr"] = best["tool"]
    result |= {
        "seeds": [_outside_shell(run) if in_shell else run for run, _ in runs],
        "fmax_mhz": spread([run["fmax_mhz"] for run, _ in runs]),
        "best": best["seed"], "timing_met": best["fmax_mhz"] >= target.clock_mhz,
        "bitstream": str(routed / best["bitstream"]),
    }
    return result


def spread(fmax):
    """Median, lowest and highest of the seeds' Fmax, None for one that was given up.

    Such a seed counts as the slowest: ``lowest`` is None, and so is ``median`` if one that was
    given up is in the middle (or one of the two there).
    """
    done = sorted(value for value in fmax if value is not None)
    ranked = [None] * (len(fmax) - len(done)) + done
    middle = ranked[(len(ranked) - 1) // 2:len(ranked) // 2 + 1]
    return {"median": None if None in middle else round(statistics.mean(middle), 2),
            "lowest": ranked[0], "highest": ranked[-1]}


def mapped(geometry, target, *, program=None, cache=None):
    """Resources of an accelerator after mapping, by kind; nothing is placed.

    Parameters are those of :func:`implement`.

    Raises
    ------
    FpgaError
        If the tool fails.
    """
    target = Target.named(target) if isinstance(target, str) else target
    baked = program if target.family != "ice40" else None
    verilog = verilog_text(geometry, baked, family=_family(target))
    _, synthesis = _synthesise(verilog, TOP, target, cache or Cache(), lambda what, stage: None)
    return synthesis["total"]


def _pin_count(verilog, top):
    return sum(width for _, width, _ in shell.ports(verilog, top))


def _family(target):
    """The family that the Verilog is for, if it makes a difference."""
    return target.family if target.family in ("ecp5", "ice40") else None


def _synthesise(verilog, top, target, cache, progress):
    """``(folder, result)`` of the synthesis, from the cache if it is there."""
    tool = tools.find("yosys")
    key = cache.key(_VERSION, verilog, yosys.script(target, top), tool.version)
    folder = cache.get("synth", key, lambda temporary: yosys.synthesise(
        verilog, top, target, temporary, lambda stage: progress("synthesis", stage)))
    return folder, json.loads((folder / "resources.json").read_text(encoding="utf-8"))


def _route(synthesised, target, seed, limit, constraints, cache, progress):
    """``(result, folder)`` of one seed, from the cache if it is there.

    Given up: no folder, and nothing is kept.
    """
    tool = tools.find(f"nextpnr-{target.family}")
    arguments = nextpnr.command(target, seed, pins=bool(constraints))
    key = cache.key(_VERSION, synthesised.name, arguments, *([constraints] if constraints else []),
                    tool.version)

    def make(temporary):
        owners = json.loads((synthesised / "owners.json").read_text(encoding="utf-8"))
        nextpnr.place_and_route(synthesised / "netlist.json", target, seed, temporary, owners,
                                lambda stage: progress(f"seed {seed}", stage),
                                constraints=constraints, limit=limit)

    try:
        folder = cache.get("route", key, make)
    except GivenUp:
        progress(f"seed {seed} given up after {limit:g} s", "")
        return {"seed": seed, "given_up_s": limit, "fmax_mhz": None}, None
    run = json.loads((folder / "route.json").read_text(encoding="utf-8"))
    return run | {"given_up_s": None}, folder


def _without_shell(modules):
    """Instance paths as they are without the shell; the shell itself is ``(pins)``."""
    return {"(pins)" if path == "" else path.removeprefix(shell.INSIDE).removeprefix("."): counts
            for path, counts in modules.items()}


def _outside_shell(run):
    """The same for the cells of a seed's slowest path."""
    path = run["path"] if run["given_up_s"] is None else None
    if path is None:
        return run

    def plain(cell):
        return cell.removeprefix(f"{shell.INSIDE}.")

    return run | {"path": path | {"from": plain(path["from"]), "to": plain(path["to"]),
                                  "through": [plain(cell) for cell in path["through"]]}}


def _check_fit(total, target):
    """Refuse a design that needs more than the device has."""
    over = [f"{total[kind]} {_WORDS[kind]} of {size} ({total[kind] - size} too many)"
            for kind, size in target.resources.items() if total[kind] > size]
    if over:
        raise FpgaError(f"Design does not fit {target.name}: {'; '.join(over)}")
