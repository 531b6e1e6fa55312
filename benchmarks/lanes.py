"""What a lane costs, and the network's cycles on it: ``python -m benchmarks.lanes``.

Maps arrays of every lane variant for ECP5, places and routes smaller ones, and writes
``reports/lanes.md``. LUTs and clocks are measured; the cycles of the binary arrays are the model's
(equal to the RTL's counters in the tests), those of the int8 array are derived from it: there is no
accelerator around the int8 lanes.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from amaranth.back import verilog

from bamac.compiler import compile_network
from bamac.files import write_text
from bamac.fpga.cache import Cache
from bamac.fpga.flow import implement_verilog
from bamac.model import predict
from bamac.random_networks import paper_network
from bamac_hw.geometry import Geometry
from bamac_hw.int8_lane_array import Int8LaneArray
from bamac_hw.int8_read_out import Int8ReadOut
from bamac_hw.lane_array import LaneArray
from bamac_hw.pair_lane_array import PairLaneArray

TARGET = "ecp5-85k"
PIXELS = 4
ACC_BITS = 20
INT8_ACC_BITS = 24  # 288 products of 8-bit values, less the most extreme of them
CHANNELS = 32  # of the arrays that are compared
FEW = 8        # of those that are mapped: a lane costs the same, and it is a quarter of the time
AT_ONCE = 4    # channels that the int8 read-out handles per cycle
REPORT = Path(__file__).parents[1] / "reports" / "lanes.md"


@dataclass(frozen=True)
class Variant:
    """A lane: how to build an array of it, and the array's dense cycles for the network."""

    name: str
    build: object
    cycles: str

    @property
    def acc_bits(self):
        return INT8_ACC_BITS if self.cycles == "int8" else ACC_BITS


VARIANTS = (
    Variant("`gated`", LaneArray, "small"),
    Variant("`pair`, carry cells", lambda **sizes: PairLaneArray(**sizes, family="ecp5"),
            "small_pair"),
    Variant("`pair`, expression", PairLaneArray, "small_pair"),
    Variant("int8 shift-add, carry cells", lambda **sizes: Int8LaneArray(**sizes, family="ecp5"),
            "int8"),
    Variant("int8 shift-add, expression", Int8LaneArray, "int8"),
    Variant("int8 DSP", lambda **sizes: Int8LaneArray(**sizes, multiplier="dsp"), "int8"),
)


def cycles():
    """Dense cycles of the paper's network, by array of 128 lanes.

    An int8 lane takes a whole activation where a gated one takes a plane, and the array waits while
    a tile is read out. Everything else is as on ``small``.
    """
    network = paper_network().network
    found = {}
    for name in ("small", "small_pair"):
        program = compile_network(network, Geometry.preset(name))
        found[name] = predict(program)
        if name == "small":
            layers = program.layers
    total = found["small"]["cycles"]
    for row, counted in zip(layers, found["small"]["layers"], strict=True):
        total -= counted["cycles_compute"] - counted["cycles_compute"] // row["planes"]
        if row["kind"] == "conv":
            total += row["jobs"] * row["tiles"] * row["passes"] * (CHANNELS // AT_ONCE)
    return {"small": found["small"]["cycles"], "small_pair": found["small_pair"]["cycles"],
            "int8": total}


def mapped(component, cache, *, place=False):
    """The implementation of a component by itself."""
    text = verilog.convert(component, name="lanes", emit_src=False, strip_internal_attrs=True)
    return implement_verilog(text, "lanes", TARGET, place=place, cache=cache,
                             progress=lambda what, stage: None)


def measure(cache, *, place):
    """``[(variant, resources, Fmax or None)]``, and the read-out's resources."""
    rows = []
    for variant in VARIANTS:
        sizes = {"pixels": PIXELS, "channels": FEW, "acc_bits": variant.acc_bits}
        resources = mapped(variant.build(**sizes), cache)["resources"]
        fmax = None
        if place:
            fmax = mapped(variant.build(**sizes), cache, place=True)["fmax_mhz"]["median"]
        print(variant.name, resources, fmax, flush=True)
        rows.append((variant, resources, fmax))
    read_out = Int8ReadOut(pixels=PIXELS, channels=CHANNELS, acc_bits=INT8_ACC_BITS,
                           at_once=AT_ONCE)
    return rows, mapped(read_out, cache)["resources"]


def report(rows, read_out, counted):
    """The report's text."""
    lanes, times = PIXELS * FEW, CHANNELS // FEW
    lines = [
        "# Lanes", "",
        f"Made by `python -m benchmarks.lanes` on {date.today()}: arrays of 2 x 2 pixels x "
        f"{FEW} channels with accumulators of {ACC_BITS} bits (int8: {INT8_ACC_BITS}), mapped for "
        f"{TARGET} by themselves (a carry cell counts as two LUTs). Clock (`--place`): nextpnr's "
        f"estimate for one seed, between shift registers. Cycles: paper's network, random weights, "
        f"5 s clip, dense, {CHANNELS} channels.", "",
        "| lane | LUTs per lane | flip-flops per lane | DSPs per lane | MHz | cycles | "
        "LUTs x cycles, gated = 1 |", "|---|---|---|---|---|---|---|"]
    base = rows[0][1]["lut"] * counted["small"]
    for variant, resources, fmax in rows:
        product = resources["lut"] * counted[variant.cycles] / base
        clock = f"{fmax:.0f}" if fmax else "-"
        lines.append(
            f"| {variant.name} | {resources['lut'] / lanes:.1f} | {resources['ff'] / lanes:.1f} | "
            f"{resources['dsp'] // lanes} | {clock} | {counted[variant.cycles]:,} | "
            f"{product:.2f} |")
    luts = {variant.name: resources["lut"] for variant, resources, _ in rows}
    pair = luts["`pair`, carry cells"]
    lines += [
        "",
        f"Pair lanes: {pair / lanes / 2:.1f} LUTs per addition and cycle (target: at most 16).", "",
        "How many times the LUTs of the binary array the int8 lanes need at equal network "
        "throughput (LUTs x cycles):", "",
        "| int8 lanes | against `gated` | against `pair`, carry cells |", "|---|---|---|"]
    for variant, resources, _ in rows:
        if variant.cycles == "int8":
            cost = resources["lut"] * counted["int8"]
            with_read_out = cost + read_out["lut"] / times * counted["int8"]
            ratios = [f"{cost / other:.1f} ({with_read_out / other:.1f} with read-out)"
                      for other in (base, pair * counted["small_pair"])]
            lines.append(f"| {variant.name} | {ratios[0]} | {ratios[1]} |")
    lines += [
        "",
        f"- The int8 read-out (bias, shift, clamp, max pool; {AT_ONCE} channels per cycle) takes "
        f"{read_out['lut']:,} LUTs; nothing has been done to make it small. The write-back of sign "
        "bits is not set against it.",
        "- Measured: LUTs, flip-flops, DSPs; bit-exactness of each array in the component "
        "tests; the cycles of `gated` and `pair` are the model's, which equal the RTL's counters.",
        "- Derived: the cycles of the int8 array. They are those of `small` with one cycle per "
        f"tap and channel, whatever the bits, and {CHANNELS // AT_ONCE} more per tile for the "
        "read-out. "
        "No accelerator has been built around the int8 lanes: its line buffers, eight times as "
        "wide, and the words of its window fetch are not counted.",
        "- \"Carry cells\" are built by hand from ECP5's CCU2C, \"expression\" is what Yosys makes "
        "of the same sums. The DSP lane needs one DSP block per lane: 128 of the 156 of an "
        "ECP5-85k, and the 28 of an ECP5-25k hold no such array.", ""]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=None, help="where FPGA results are kept")
    parser.add_argument("--place", action="store_true", help="place and route too, for the clock")
    arguments = parser.parse_args()
    os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")
    found = measure(Cache(arguments.cache), place=arguments.place)
    write_text(REPORT, report(*found, cycles()))
    print(f"written: {REPORT}")


if __name__ == "__main__":
    main()
