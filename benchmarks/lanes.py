"""The cost of lanes, alone and in whole accelerators: ``python -m benchmarks.lanes``.

Maps arrays of every lane variant and the accelerator of every lane's preset for ECP5. Writes
``reports/lanes.md``: LUTs, and LUTs x cycles of the paper's network.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from amaranth.back import verilog

from bamac import load
from bamac.compiler import compile_network
from bamac.files import write_text
from bamac.fpga import mapped as fpga_mapped
from bamac.fpga.cache import Cache
from bamac.fpga.flow import implement_verilog
from bamac.perf.cycles import predict
from bamac.shipped import ASSETS
from bamac_hw.datapath.int8_lane_array import Int8LaneArray
from bamac_hw.datapath.lane_array import LaneArray
from bamac_hw.datapath.pair_lane_array import PairLaneArray
from bamac_hw.geometry import Geometry

TARGET = "ecp5-85k"
PIXELS = 4
ACC_BITS = 20
INT8_ACC_BITS = 24  # holds sums of 288 products of 8-bit values, but for the most extreme
FEW = 8  # channels of the arrays that are mapped alone
REPORT = Path(__file__).parents[1] / "reports" / "lanes.md"


@dataclass(frozen=True)
class Variant:
    """A lane: how to build an array of it, and the bits of its accumulators."""

    name: str
    build: object
    acc_bits: int


VARIANTS = (
    Variant("`gated`", LaneArray, ACC_BITS),
    Variant("`pair`, carry cells", lambda **sizes: PairLaneArray(**sizes, family="ecp5"),
            ACC_BITS),
    Variant("`pair`, expression", PairLaneArray, ACC_BITS),
    Variant("`int8`, carry cells", lambda **sizes: Int8LaneArray(**sizes, family="ecp5"),
            INT8_ACC_BITS),
    Variant("`int8`, expression", Int8LaneArray, INT8_ACC_BITS),
    Variant("`int8_dsp`", lambda **sizes: Int8LaneArray(**sizes, multiplier="dsp"),
            INT8_ACC_BITS),
)
# Presets, and the shipped model that each of them runs.
ARRAYS = {
    "small": "paper-bam-w8.onnx", "small_pair": "paper-bam-w8.onnx",
    "small_event": "paper-bam-w8.onnx",
    "small_int8": "paper-fp32.pt", "small_dsp": "paper-fp32.pt",
}
BINARY, INT8 = ("small", "small_pair", "small_event"), ("small_int8", "small_dsp")


def accelerators(cache):
    """Resources of each whole accelerator and its cycles per clip, as plain values by preset.

    Resources are those that Yosys maps; nothing is placed. Cycles are means over the clips that
    ship with the package, predicted by the model, which equals the RTL's counters (tests,
    conformance). Binary arrays run the shipped network, int8 arrays its twin with 8-bit maps.
    """
    found = {}
    for name, model in ARRAYS.items():
        geometry = Geometry.preset(name)
        network = load.load_model(ASSETS / "models" / model)
        program = compile_network(network, geometry)
        frames = [load.frames_of_clip(network.input, network.name, network.front_end, clip)[0]
                  for clip in load.demo_clips()]
        cycles = [predict(program, network, window)["cycles"] for clip in frames for window in clip]
        resources = fpga_mapped(geometry, TARGET, program=program, cache=cache)
        found[name] = {
            "network": network.name, "bits": network.input.bits, "resources": resources,
            "cycles": sum(cycles) / len(cycles),
            "activation_bytes": program.manifest["memory"]["activation_bytes"]}
        print(name, resources, round(found[name]["cycles"]), flush=True)
    return found


def mapped(component, cache, *, place=False):
    """The implementation of a component by itself."""
    text = verilog.convert(component, name="lanes", emit_src=False, strip_internal_attrs=True)
    return implement_verilog(text, "lanes", TARGET, place=place, cache=cache,
                             progress=lambda what, stage: None)


def measure(cache, *, place):
    """``[(variant, resources, Fmax or None)]`` of the arrays of lanes alone."""
    rows = []
    for variant in VARIANTS:
        sizes = {"pixels": PIXELS, "channels": FEW, "acc_bits": variant.acc_bits}
        resources = mapped(variant.build(**sizes), cache)["resources"]
        fmax = None
        if place:
            fmax = mapped(variant.build(**sizes), cache, place=True)["fmax_mhz"]["median"]
        print(variant.name, resources, fmax, flush=True)
        rows.append((variant, resources, fmax))
    return rows


def report(rows, whole):
    """The report's text."""
    lanes = PIXELS * FEW
    lines = [
        "# Lanes", "",
        f"Made by `python -m benchmarks.lanes` on {date.today()}: mapped by Yosys for {TARGET}, "
        "where a carry cell counts as two LUTs; nothing placed.", "",
        "## LUTs at equal network throughput", "",
        "Whole accelerators with 128 lanes of each kind, host side, counters and head included, "
        "the program in their memories, on the paper's network. Cycles are for a clip of 5 s, "
        "means over the shipped clips. LUTs x cycles is what it costs to score clips at a given "
        "rate and clock.", "",
        "| array | network | LUTs | flip-flops | block RAMs | DSPs | activation memory | cycles | "
        "LUTs x cycles, `small` = 1 |", "|---|---|---|---|---|---|---|---|---|"]
    cost = {name: about["resources"]["lut"] * about["cycles"] for name, about in whole.items()}
    for name, about in whole.items():
        used = about["resources"]
        lines.append(
            f"| `{name}` | {about['network']}, {about['bits']}-bit input | {used['lut']:,} | "
            f"{used['ff']:,} | {used['bram']} | {used['dsp']} | "
            f"{about['activation_bytes']:,} bytes | {about['cycles']:,.0f} | "
            f"{cost[name] / cost['small']:.2f} |")
    lines += ["", "How many times the LUTs of a binary array the int8 arrays need (target: at "
              "least 5 against shift-add lanes):", "",
              "| | " + " | ".join(f"against `{name}`" for name in BINARY) + " |",
              "|---|" + "---|" * len(BINARY)]
    lines += [f"| `{name}` | " + " | ".join(f"{cost[name] / cost[other]:.2f}" for other in BINARY)
              + " |" for name in INT8]
    lines += [
        "",
        "- Binary arrays run the shipped network with binary maps; int8 arrays its full-precision "
        "twin with int8 weights and 8-bit maps ([how](../docs/qonnx.md)). They do not agree with "
        "PESQ equally well: [accuracy](accuracy.md). An int8 lane takes an input value of any "
        "width in one cycle, so that fewer input bits would not help there.",
        "- Cycles compare at equal clock. What each array reaches when placed: its own report, "
        + ", ".join(f"[{name}]({name}/README.md#timing)" for name in ARRAYS) + ". DSP blocks count "
        "no LUTs, and 128 of them need the largest ECP5.",
        "- Cycles are the model's, which equal the RTL's counters (tests, and "
        "`python -m benchmarks.conformance`). "
        "The int8 arrays stand still for eight cycles per tile while its sums are read out.",
        "- Line buffers, input and vector memory as the program uses them: 8-bit maps take eight "
        "times the room.",
        "", "## Lanes alone", "",
        f"Arrays of 2 x 2 pixels x {FEW} channels with accumulators of {ACC_BITS} bits (int8: "
        f"{INT8_ACC_BITS}), by themselves. Clock (`--place`): nextpnr's estimate for one seed, "
        "between shift registers.", "",
        "| lane | LUTs per lane | flip-flops per lane | DSPs per lane | MHz |",
        "|---|---|---|---|---|"]
    for variant, resources, fmax in rows:
        clock = f"{fmax:.0f}" if fmax else "-"
        lines.append(f"| {variant.name} | {resources['lut'] / lanes:.1f} | "
                     f"{resources['ff'] / lanes:.1f} | {resources['dsp'] // lanes} | {clock} |")
    pair = next(resources for variant, resources, _ in rows if "pair`, carry" in variant.name)
    lines += [
        "",
        f"- Pair lanes: {pair['lut'] / lanes / 2:.1f} LUTs per addition and cycle (target: at most "
        "16).",
        "- \"Carry cells\" are built by hand from ECP5's CCU2C, \"expression\" is what Yosys makes "
        "of the same sums.", ""]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=None, help="where FPGA results are kept")
    parser.add_argument("--place", action="store_true", help="place and route too, for the clock")
    arguments = parser.parse_args()
    os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")
    cache = Cache(arguments.cache)
    write_text(REPORT, report(measure(cache, place=arguments.place), accelerators(cache)))
    print(f"written: {REPORT}")


if __name__ == "__main__":
    main()
