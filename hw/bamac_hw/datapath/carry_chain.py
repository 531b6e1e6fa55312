"""ECP5's carry chain with a chosen table in front of each carry."""

from amaranth import *

__all__ = ["carry_chain", "check_family"]


def check_family(family: str | None) -> None:
    """Refuse any family but ``"ecp5"`` and None: on the others, lanes are expressions."""
    if family not in (None, "ecp5"):
        raise ValueError(f"Family must be ecp5 or None, not {family!r}")


def carry_chain(m: Module, name: str, table: int, a: list, b: list, c: list, d: list) -> Signal:
    """Add two numbers whose bits are functions of four inputs; returns the sum's bits.

    For each bit, the cell has a LUT4 of A, B, C, D, which says whether the carry propagates: the
    exclusive OR of the addends. If it does not, the carry is the same table at C = D = 0, which
    must be either addend. The table is the one that nextpnr and Yosys call INIT: bit
    ``A + 2 B + 4 C + 8 D`` of 16 bits.

    Parameters
    ----------
    m : Module
        The cells become its submodules.
    name : str
        Names them.
    table : int
    a, b, c, d : lists of one bit each for every bit of the sum
    """
    width = len(a)
    sums = Signal(width, name=f"sum_{name}")
    carry = C(0, 1)
    for low in range(0, width, 2):
        following = Signal(name=f"carry_{name}_{low}")
        ports = {"i_CIN": carry, "o_COUT": following}
        for half in range(2):
            bit = low + half
            inside = bit < width
            for port, values in zip("ABCD", (a, b, c, d), strict=True):
                ports[f"i_{port}{half}"] = values[bit] if inside else C(0, 1)
            ports[f"o_S{half}"] = sums[bit] if inside else Signal(name=f"unused_{name}")
        m.submodules[f"carry_{name}_{low}"] = Instance(
            "CCU2C", p_INIT0=Const(table, 16), p_INIT1=Const(table, 16),
            p_INJECT1_0="NO", p_INJECT1_1="NO", **ports)
        carry = following
    return sums
