"""Dynamic energy of a mapped ECP5 design from its nets' toggles: an estimate with a range.

There is no public power model of ECP5. Its process (40 nm) and supply (1.1 V) are public, and VTR's
architecture file of a 40 nm FPGA, which its authors fitted to Stratix IV and ITRS wires, gives
capacitances and the energy of a block RAM. A toggle of a net costs ``C V^2 / 2``. What the file
cannot know about this device (how many wire segments reach a sink, the clock tree, glitches) is
assumed, with a low and a high value beside the middle one. Not in it: leakage, pins, PLL.

Sources: k6_frac_N10_mem32K_40nm.xml of VTR (J. Luu, J. Goeders, V. Betz): segments of 4 tiles of
26 fF each, switch outputs of 3.5 fF, connection blocks of 1.7 fF, local wires of 0.25 fF per um
in a tile of 90 um, 9.0 and 17.9 pJ per clock toggle for a 32 kbit RAM with one and two ports. J.
Lamoureux, G. Lemieux, S. Wilton, GlitchLess (IEEE T-VLSI 2008): removing nearly all glitches
saves about a fifth of the dynamic power.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CONSTANTS", "Constants", "estimate_energy"]


@dataclass(frozen=True)
class Constants:
    """What a toggle costs; fF, pJ and V.

    Parameters
    ----------
    segments : wire segments of 4 tiles for each sink of a net
    segment_ff : of one segment with its switch
    pin_ff : local wires and the input of a sink
    local_ff : a connection within a slice: LUT to flip-flop, carry, wide multiplexer
    clock_ff : clock tree for each flip-flop, with its clock input
    glitch : toggles of combinational nets, times those without delays
    memory_pj : access of a block RAM's port (18 kbit)
    volt : core supply
    """

    segments: float
    segment_ff: float
    pin_ff: float
    local_ff: float
    clock_ff: float
    glitch: float
    memory_pj: float
    volt: float = 1.1


# 110 fF: 4 x 26 + 3.5 + 1.7. Memory: 2 x 9.0 pJ per cycle x 18 / 32 kbit in the middle, half of it
# and the whole of it at the ends.
CONSTANTS = {
    "low": Constants(0.5, 110, 13, 2, 4, 1.0, 5.0),
    "middle": Constants(1.0, 110, 24, 5, 8, 1.25, 10.1),
    "high": Constants(2.0, 110, 47, 10, 25, 2.0, 18.0),
}
PARTS = ("nets", "clock", "memories")

_REGISTERS = {"TRELLIS_FF"}
_MEMORIES = {"DP16KD"}
_LOGIC = {"LUT4", "CCU2C", "PFUMX", "L6MUX21"}
_LOCAL_PINS = {("CCU2C", "CIN"), ("PFUMX", "ALUT"), ("PFUMX", "BLUT"), ("L6MUX21", "D0"),
               ("L6MUX21", "D1")}
_CLOCK_PINS = {"CLK", "CLKA", "CLKB", "WCK"}


@dataclass(frozen=True)
class _Net:
    driver: str | None
    routed: int
    local: int


def _nets(cells):
    """Each net's driver and its sinks, those of the clock left out."""
    drivers, sinks = {}, {}
    for name, cell in cells.items():
        for pin, bits in cell["connections"].items():
            for bit in bits:
                if not isinstance(bit, int):
                    continue
                if cell["port_directions"][pin] == "output":
                    drivers[bit] = name
                elif pin not in _CLOCK_PINS:
                    sinks.setdefault(bit, []).append((cell["type"], pin))
    nets = {}
    for bit in drivers.keys() | sinks.keys():
        driver = drivers.get(bit)
        from_logic = driver is not None and cells[driver]["type"] in _LOGIC
        local = sum(sink in _LOCAL_PINS or (from_logic and sink == ("TRELLIS_FF", "DI"))
                    for sink in sinks.get(bit, ()))
        nets[bit] = _Net(driver, len(sinks.get(bit, ())) - local, local)
    return nets


def _accesses(cell, activity):
    """Share of cycles in which a block RAM's ports are enabled, both added."""
    def share(bit):
        return activity[bit][1] if isinstance(bit, int) else float(bit == "1")

    return sum(share(cell["connections"][f"CE{port}"][0]) for port in "AB")


def estimate_energy(netlist, owners, instances, activity):
    """Energy of the counted activity.

    Parameters
    ----------
    netlist : dict
        See :func:`bamac.fpga.gates.load_netlist`.
    owners : dict
        Cell to what we call it, see :meth:`bamac.fpga.names.Owners.label`.
    instances : collection of str
        Of the top module.
    activity : bamac.fpga.activity.NetActivity

    Returns
    -------
    dict
        ``kind`` is ``"estimate"``; ``total_uj`` and, in ``modules``, each module's parts (nets,
        clock, memories) in uJ, each ``{"low", "middle", "high"}``; ``cycles``; ``toggles`` in all;
        ``nets`` counted.
    """
    cells = netlist["cells"]
    nets = _nets(cells)
    modules = {}

    def add(cell, part, values):
        module = _module(owners.get(cell, ""), instances) if cell else "(ports)"
        row = modules.setdefault(module, {each: dict.fromkeys(CONSTANTS, 0.0) for each in PARTS})
        for name, value in values.items():
            row[part][name] += value * 1e6

    toggles = 0
    for bit, net in nets.items():
        count = activity[bit][0] if bit in activity else 0
        toggles += count
        logic = net.driver is not None and cells[net.driver]["type"] in _LOGIC
        add(net.driver, "nets", {name: count * _toggle_j(net, c) * (c.glitch if logic else 1)
                                 for name, c in CONSTANTS.items()})
    for name, cell in cells.items():
        if cell["type"] in _REGISTERS:
            add(name, "clock", {key: activity.cycles * c.clock_ff * 1e-15 * c.volt**2
                                for key, c in CONSTANTS.items()})
        elif cell["type"] in _MEMORIES:
            accesses = activity.cycles * _accesses(cell, activity)
            add(name, "memories", {key: accesses * c.memory_pj * 1e-12
                                   for key, c in CONSTANTS.items()})
    total = {name: sum(row[part][name] for row in modules.values() for part in PARTS)
             for name in CONSTANTS}
    return {"kind": "estimate", "cycles": activity.cycles, "toggles": toggles, "nets": len(nets),
            "total_uj": total, "modules": modules}


def _toggle_j(net, c):
    femto = net.routed * (c.segments * c.segment_ff + c.pin_ff) + net.local * c.local_ff
    return 0.5 * femto * 1e-15 * c.volt**2


def _module(label, instances):
    """The instance of the top module that a cell's name begins with."""
    first = label.removesuffix(" (logic)").split(".")[0]
    return first if first in instances else "(top)"
