"""Energy estimates: counted operations and accesses times published figures per operation.

Nothing here is measured on silicon, and every result says that it is an estimate. The rules:

* An accumulator's addition costs an integer addition of the accumulator's width. A binary
  activation is a gate in front of it, a tenth of an 8-bit addition (as in QKeras), for every lane
  and step, whether the bit is 1 or not; the addition only where it is 1.
* Pair lanes count as two gated ones: an addition for each bit, though both may share one.
* A table's 8- and 32-bit additions are joined by a line; multiplications grow with the square of
  the width.
* A memory access costs the table's entry of the smallest SRAM that holds the memory (8 kB, 32 kB
  or 1 MB), in proportion to the bits accessed (the tables are for 64). QKeras has its own formula.
* The same network in int8 and in fp32 is put on the same schedule: as many weight and activation
  words, but 8 or 32 bits wide, in memories that are larger by as much; a multiplication and an
  addition (32 bits, or fp32) for each product. An int8 activation that was binary takes 8 bits.
* What ran on int8 lanes is counted as it ran, and only fp32 is put on its schedule.
* The front end runs in software; its operations are counted as for 16-bit fixed-point hardware.
* Clock tree, control, leakage and input pins are not counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

__all__ = ["TABLES", "Table", "estimate", "front_end_counts"]

KB = 1024
VARIANTS = ("binary", "int8", "fp32")
PURPOSES = ("arithmetic", "weights", "activations", "control", "front_end")
_PURPOSE_OF = {"weights": "weights", "input_buffer": "activations", "line_buffers": "activations",
               "vectors": "activations", "descriptors": "control", "layer_state": "control"}


@dataclass(frozen=True)
class Table:
    """Energy per operation in pJ.

    ``sram`` lists (bytes, pJ per 64-bit access), smallest first.
    """

    name: str
    citation: str
    node_nm: int
    add8: float
    add32: float
    multiply8: float
    fp32_add: float
    fp32_multiply: float
    sram: tuple[tuple[int, float], ...]

    def add(self, bits: int) -> float:
        """Integer addition."""
        return max(self.add8 / 8, self.add8 + (self.add32 - self.add8) * (bits - 8) / 24)

    def multiply(self, bits: int) -> float:
        """Integer multiplication of two numbers of that width."""
        return self.multiply8 * (bits / 8) ** 2

    def access(self, size_bytes: float, bits: float) -> float:
        """One access of ``bits`` bits to an SRAM of ``size_bytes``."""
        entry = next((e for limit, e in self.sram if size_bytes <= limit), self.sram[-1][1])
        return entry * bits / 64


class _QKeras(Table):
    def add(self, bits: int) -> float:
        return 0.003125 * bits

    def multiply(self, bits: int) -> float:
        return 0.002994791667 * bits**2 + 0.001041666667 * bits

    def access(self, size_bytes: float, bits: float) -> float:
        x = math.log2(max(size_bytes * 8, 2))
        return bits * (9.02427321e-4 * x**3 - 2.68847858e-2 * x**2 + 0.208900804 * x)


TABLES = {table.name: table for table in (
    Table("horowitz-45nm", "M. Horowitz, Computing's energy problem, ISSCC 2014 (45 nm, 0.9 V)",
          45, 0.03, 0.1, 0.2, 0.9, 3.7, ((8 * KB, 10), (32 * KB, 20), (1024 * KB, 100))),
    Table("jouppi-7nm", "N. Jouppi et al., Ten lessons from three generations, ISCA 2021 (7 nm)",
          7, 0.007, 0.03, 0.07, 0.38, 1.31, ((8 * KB, 7.5), (32 * KB, 8.5), (1024 * KB, 14))),
    # Only its formulas are used; the entries it shares with Horowitz are for fp32
    _QKeras("qkeras-45nm", "QKeras (google/qkeras), fits per bit width to 45 nm figures",
            45, 0.03, 0.1, 0.2, 0.9, 3.7, ()),
)}


def front_end_counts(frames: int, *, n_fft: int = 640, mels: int = 120) -> dict[str, int]:
    """Operations of ``frames`` frames of log-mel features: window, real FFT, power, mel, log.

    The FFT of n real samples is counted as n/2 complex points in radix 2, with a last step that
    separates the spectrum: n/4 log2(n/2) + n/4 butterflies of 4 multiplications and 6 additions;
    each reads and writes two complex words. Each spectrum value falls into two mel filters. A
    logarithm is counted as a table access, a multiplication and an addition.
    """
    half = n_fft // 2
    butterflies = n_fft / 4 * math.log2(half) + n_fft / 4
    bins = half + 1
    multiplies = n_fft + 4 * butterflies + 2 * bins + 2 * bins + 2 * mels
    adds = 6 * butterflies + bins + 2 * bins + 2 * mels
    accesses = 2 * n_fft + 4 * 2 * butterflies + 2 * bins + 2 * mels
    return {"frames": int(frames), "multiplies": round(frames * multiplies),
            "adds": round(frames * adds), "accesses": round(frames * accesses),
            "bits": 16, "memory_bytes": 2 * (2 * n_fft + 2 * bins)}


def _front_end(table: Table, counts: dict[str, int] | None) -> float:
    if not counts:
        return 0.0
    bits = counts["bits"]
    return (counts["multiplies"] * table.multiply(bits) + counts["adds"] * table.add(2 * bits)
            + counts["accesses"] * table.access(counts["memory_bytes"], bits))


def _factor(variant: str, memory: str, counted: str) -> int:
    """How many times wider a word of ``memory`` is than in the network that was counted."""
    if variant == counted or _PURPOSE_OF[memory] == "control":
        return 1
    if counted == "int8":
        return 2 if memory == "vectors" else 4
    if memory == "line_buffers":
        return 8 if variant == "int8" else 32
    if memory == "vectors":
        return 1 if variant == "int8" else 2
    return 1 if variant == "int8" else 4


def _arithmetic(table: Table, variant: str, layer: dict[str, Any], acc_bits: int) -> float:
    if variant == "binary":
        return float(layer["lane_adds"] * table.add(acc_bits)
                     + layer["lane_steps"] * 0.1 * table.add(8))
    if variant == "int8":
        return float(layer["macs"] * (table.multiply(8) + table.add(32)))
    return float(layer["macs"] * (table.fp32_multiply + table.fp32_add))


def _variant(table: Table, variant: str, counts: dict[str, Any],
             counted: str) -> dict[str, Any]:
    layers = []
    total = dict.fromkeys(PURPOSES, 0.0)
    for layer in counts["layers"]:
        energy = dict.fromkeys(PURPOSES[:-1], 0.0)
        energy["arithmetic"] = _arithmetic(table, variant, layer, counts["acc_bits"])
        for memory, accesses in layer["accesses"].items():
            about = counts["memories"][memory]
            factor = _factor(variant, memory, counted)
            energy[_PURPOSE_OF[memory]] += accesses * table.access(
                about["bytes"] * factor, about["access_bits"] * factor)
        for purpose, value in energy.items():
            total[purpose] += value
        layers.append({"name": layer["name"],
                       **{f"{purpose}_uj": value / 1e6 for purpose, value in energy.items()}})
    total["front_end"] = _front_end(table, counts.get("front_end"))
    return {"total_uj": sum(total.values()) / 1e6,
            **{f"{purpose}_uj": value / 1e6 for purpose, value in total.items()},
            "layers": layers}


def estimate(counts: dict[str, Any]) -> dict[str, Any]:
    """Energy of one run under every table, for the network that ran, and as int8 and fp32.

    Parameters
    ----------
    counts : dict
        ``acc_bits``; ``memories``: per memory its size ``bytes`` and ``access_bits``;
        ``layers``: each ``name``, ``lane_adds`` (additions carried out), ``lane_steps`` (lanes
        times steps, gated or not), ``macs`` (products of the network, whatever their width) and
        ``accesses`` per memory; ``front_end``: :func:`front_end_counts`, or None if features came
        from elsewhere; ``maps``: ``"binary"`` (the default) or ``"int8"``, what was counted.

    Returns
    -------
    dict
        ``kind`` is ``"estimate"``; ``tables`` holds per table ``citation``, ``node_nm`` and, for
        ``binary`` (not where int8 lanes were counted), ``int8`` and ``fp32``, the total and its
        parts by purpose and by layer in uJ.
    """
    for layer in counts["layers"]:
        for memory in layer["accesses"]:
            if memory not in counts["memories"]:
                raise KeyError(f"memory {memory!r} of layer {layer['name']} has no size")
    counted = counts.get("maps", "binary")
    variants = VARIANTS[VARIANTS.index(counted):]
    return {"kind": "estimate", "tables": {
        table.name: {"citation": table.citation, "node_nm": table.node_nm,
                     **{variant: _variant(table, variant, counts, counted)
                        for variant in variants}}
        for table in TABLES.values()}}
