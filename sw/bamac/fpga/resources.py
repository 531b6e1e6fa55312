"""Resources after mapping, counted per module of the hierarchy.

Kinds: ``lut`` (what the device counts as a LUT: a carry cell of ECP5 takes two, its 16 x 4 bit
memory four), ``carry`` (carry cells), ``ff``, ``bram`` (block RAMs; xc7: of 18 kbit), ``spram``,
``lutram`` (memories in LUTs), ``dsp``.
"""

import re
from collections import Counter

__all__ = ["KINDS", "by_module", "cost", "total"]

KINDS = ("lut", "carry", "ff", "bram", "spram", "lutram", "dsp")

_COSTS = (
    (r"LUT[1-6]|SB_LUT4|INV", dict(lut=1)),
    (r"CCU2C", dict(lut=2, carry=1)),
    (r"SB_CARRY|CARRY4", dict(carry=1)),
    (r"TRELLIS_FF|SB_DFF\w*|FD[RSCP]E(_1)?", dict(ff=1)),
    (r"DP16KD|PDPW16KD|SB_RAM40_4K\w*|RAMB18E1", dict(bram=1)),
    (r"RAMB36E1", dict(bram=2)),
    (r"SB_SPRAM256KA", dict(spram=1)),
    (r"TRELLIS_DPR16X4", dict(lut=4, lutram=1)),
    (r"RAM32M|RAM64M", dict(lut=4, lutram=1)),
    (r"RAM(32|64)X1D", dict(lut=2, lutram=1)),
    (r"RAM128X1D", dict(lut=4, lutram=1)),
    (r"SRL\w+|RAM\d+X1S", dict(lut=1, lutram=1)),
    (r"MULT18X18D|SB_MAC16|DSP48E1", dict(dsp=1)),
)


def cost(cell_type):
    """What a cell of the mapped netlist takes, by kind."""
    for pattern, kinds in _COSTS:
        if re.fullmatch(pattern, cell_type):
            return kinds
    return {}


def by_module(cells, owners):
    """Counts per instance path; the top module's own path is empty.

    Parameters
    ----------
    cells : dict
        Cells of the flat netlist, as Yosys' JSON has them.
    owners : Owners
    """
    found = {}
    for name, cell in cells.items():
        kinds = cost(cell["type"])
        if kinds:
            found.setdefault(owners.module(name), Counter()).update(kinds)
    return {path: {kind: counts[kind] for kind in KINDS if counts[kind]}
            for path, counts in sorted(found.items())}


def total(modules):
    """The sum of :func:`by_module`, every kind present."""
    counts = Counter()
    for values in modules.values():
        counts.update(values)
    return {kind: counts[kind] for kind in KINDS}
