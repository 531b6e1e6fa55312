"""Place and route of one seed: Fmax, utilisation, the critical path, and the bitstream."""

import json
import re

from bamac.errors import FpgaError

from . import tools
from .pins import OPTIONS

__all__ = ["command", "does_not_fit", "parse_report", "place_and_route"]

# nextpnr's name of a cell of the device: our kind of resource.
_KINDS = {
    "ecp5": {"TRELLIS_COMB": "lut", "TRELLIS_FF": "ff", "DP16KD": "bram", "MULT18X18D": "dsp"},
    "ice40": {"ICESTORM_LC": "lut", "ICESTORM_RAM": "bram", "ICESTORM_SPRAM": "spram",
              "ICESTORM_DSP": "dsp"},
}
_PACKERS = {"ecp5": ("ecppack", ("--compress", "--input", "layout", "--bit", "design.bit")),
            "ice40": ("icepack", ("layout", "design.bin"))}
_BITSTREAMS = {"ecp5": "design.bit", "ice40": "design.bin"}


def command(target, seed, *, netlist="netlist.json", pins=False):
    """nextpnr's arguments: everything but the tool's own name; ``pins``: with a pin file."""
    layout = "--textcfg" if target.family == "ecp5" else "--asc"
    words = [f"--{target.device}", "--package", target.package]
    if target.speed:
        words += ["--speed", target.speed]
    if pins:
        words += OPTIONS[target.family]
    # Whether timing is met is decided here, from the report, with the path named.
    return [*words, "--freq", f"{target.clock_mhz:g}", "--seed", str(seed), "--json", netlist,
            "--report", "report.json", layout, "layout", "--timing-allow-fail"]


def place_and_route(netlist, target, seed, folder, owners, stage=None, *, constraints="",
                    limit=None):
    """Implement ``netlist`` in ``folder``; writes ``route.json`` and the bitstream.

    Parameters
    ----------
    netlist : Path
    target : Target
    seed : int
    folder : Path
    owners : dict
        Cell name to what we call it, see :meth:`bamac.fpga.names.Owners.label`.
    constraints : str
        Text of a pin file, see :mod:`bamac.fpga.pins`.
    limit : float, optional
        Seconds after which placing and routing is given up.

    Returns
    -------
    dict
        See :func:`parse_report`, and ``seed``, ``tool``, ``bitstream`` (a file name).

    Raises
    ------
    FpgaError
        If the design does not fit, or a tool fails; ``GivenUp`` if it takes too long.
    """
    tool = tools.find(f"nextpnr-{target.family}")
    (folder / "netlist.json").write_bytes(netlist.read_bytes())
    if constraints:
        (folder / OPTIONS[target.family][1]).write_text(constraints, encoding="utf-8")
    try:
        tool.run(command(target, seed, pins=bool(constraints)), folder, folder / "nextpnr.log",
                 stage, limit=limit)
    except FpgaError as error:
        raise does_not_fit(str(error), target) or error from None
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    packer, arguments = _PACKERS[target.family]
    if stage:
        stage("packing the bitstream")
    tools.find(packer).run(arguments, folder, folder / "pack.log")
    result = parse_report(report, target.family, owners)
    result |= {"seed": seed, "tool": tool.version, "bitstream": _BITSTREAMS[target.family]}
    for name in ("netlist.json", "layout"):
        (folder / name).unlink()  # large, and made again from the synthesis
    (folder / "route.json").write_text(json.dumps(result), encoding="utf-8")
    return result


def does_not_fit(message, target):
    """nextpnr's own message that packing took too many cells, in words; None for any other.

    A flip-flop whose neighbour in the cell is taken needs one of its own, so a design can have
    few enough LUTs and flip-flops and still be too large.
    """
    found = re.search(r"Failed to expand region .* of (\d+) (ICESTORM_LC|TRELLIS_COMB)s", message)
    if not found:
        return None
    cells, size = int(found[1]), target.resources["lut"]
    return FpgaError(f"Design does not fit {target.name}: {cells} logic cells of {size} "
                     f"({cells - size} too many) when packed")


def parse_report(report, family, owners):
    """What nextpnr's report says, in our own kinds and names.

    Returns
    -------
    dict
        ``fmax_mhz``; ``used`` and ``available`` by kind; ``path``: ``from`` and ``to`` (our own
        registers), ``delay_ns``, ``logic_ns``, ``routing_ns``, ``levels`` (cells passed), and
        ``through``: our nets in the order in which the path meets them.
    """
    fmax = min((clock["achieved"] for clock in report["fmax"].values()), default=0.0)
    kinds = _KINDS[family]
    cells = {kinds[name]: counts for name, counts in report["utilization"].items()
             if name in kinds}
    return {
        "fmax_mhz": round(fmax, 2),
        "used": {kind: counts["used"] for kind, counts in cells.items()},
        "available": {kind: counts["available"] for kind, counts in cells.items()},
        "path": _worst_path(report["critical_paths"], owners),
    }


def _worst_path(paths, owners):
    """The slowest path between registers of one clock."""
    def is_internal(path):
        return path["from"] == path["to"] and "<async>" not in path["from"]

    def delay(path, *kinds):
        return sum(step["delay"] for step in path["path"] if not kinds or step["type"] in kinds)

    inner = [path for path in paths if is_internal(path)]
    if not inner:
        return None
    path = max(inner, key=delay)

    def ours(cell):
        # The packer adds suffixes: to the cells of a carry chain, and to every cell of an iCE40.
        plain = cell.split("$CCU2_")[0].removesuffix("$nextpnr_PACKER")
        plain = re.sub(r"_(LC|DFFLC|RAM|SPRAM)$", "", plain)
        return owners.get(cell) or owners.get(plain) or plain

    cells = [step["to"]["cell"] for step in path["path"]]
    through = []
    for cell in [path["path"][0]["from"]["cell"], *cells]:
        if not through or through[-1] != ours(cell):
            through.append(ours(cell))
    routing = delay(path, "routing")
    return {
        "from": through[0], "to": through[-1], "through": through,
        "delay_ns": round(delay(path), 3), "routing_ns": round(routing, 3),
        "logic_ns": round(delay(path) - routing, 3),
        "levels": sum(step["type"] == "logic" for step in path["path"]),
    }
