"""One 3x3 convolution as an NNgen accelerator: its Verilog, and its run under Verilator.

Runs in a separate environment, since NNgen is not installed beside bamac (see ``__main__.py``).
Prints one JSON object. ``verilator`` must be on PATH.
"""

import argparse
import contextlib
import json
import math
import os
import re
import sys
from pathlib import Path

import nngen as ng
import numpy as np
import veriloggen.thread as vthread
from veriloggen import Module, Not, Seq, simulation
from veriloggen.types import axi

ALIGN = 64                              # bytes; regions of the external memory start at multiples


def aligned(address):
    return math.ceil(address / ALIGN) * ALIGN


def layer(arguments):
    """``(input, convolution)`` of NNgen's data flow, with random weights."""
    rng = np.random.default_rng(1)
    act = {2: ng.dtype_int(2), 8: ng.int8}[arguments.act_bits]
    shape = (1, arguments.size, arguments.size, arguments.channels)
    inputs = ng.placeholder(dtype=act, shape=shape, name="inputs")
    weights = ng.variable(dtype=ng.int8, name="weights",
                          shape=(arguments.channels, 3, 3, arguments.channels))
    weights.set_value(rng.integers(-127, 128, weights.shape))
    conv = ng.conv2d(inputs, weights, strides=(1, 1, 1, 1), dtype=act, sum_dtype=ng.int32,
                     name="conv")
    conv.attribute(par_ich=arguments.par_ich, par_och=arguments.par_och,
                   cshamt_out=10 if arguments.act_bits == 2 else 14)
    return inputs, conv


def testbench(accelerator, inputs, conv, arguments):
    """A module that runs the accelerator once with a memory, and prints its counters."""
    rng = np.random.default_rng(2)
    low, high = inputs.dtype.width, arguments.bus_bits
    top = (1 << inputs.dtype.width - 1) - 1
    values = rng.integers(0 if low == 2 else -top, top + 1, inputs.shape)
    expected = ng.eval([conv], inputs=values)[0]

    parameters = ng.export_ndarray([conv], ALIGN)
    parameters_at = aligned(inputs.addr + inputs.memory_size)
    expected_at = aligned(parameters_at + len(parameters))
    scratch_at = aligned(expected_at + conv.memory_size)
    words = scratch_at // 4 + 4096
    memory_image = np.zeros(words, np.int64)
    for data, bits, address, word in ((values, low, inputs.addr, arguments.par_ich),
                                      (expected, low, expected_at, arguments.par_och)):
        axi.set_memory(memory_image, data, 32, bits, address, max(math.ceil(high / bits), word))
    axi.set_memory(memory_image, parameters, 32, 8, parameters_at)

    bench = Module("bench")
    bench.copy_params(accelerator)
    ports = bench.copy_sim_ports(accelerator)
    clk, resetn = ports["CLK"], ports["RESETN"]
    rst = bench.Wire("RST")
    rst.assign(Not(resetn))
    memory = axi.AxiMemoryModel(bench, "memory", clk, rst, datawidth=high, memimg=memory_image,
                                memimg_name="memory.img", memimg_datawidth=32)
    memory.connect(ports, "maxi")
    host = vthread.AXIMLite(bench, "host", clk, rst, noio=True)
    host.connect(ports, "saxi")

    counts = {name: bench.Reg(name, 32, initval=0) for name in ("cycles", "reads", "writes")}
    count = Seq(bench, "count", clk, rst)
    count(counts["cycles"].inc())
    count.If(ports["maxi_rvalid"], ports["maxi_rready"])(counts["reads"].inc())
    count.If(ports["maxi_wvalid"], ports["maxi_wready"])(counts["writes"].inc())

    total = int(np.prod(conv.shape[:-1])) * conv.aligned_shape[-1]

    # Not run by Python: veriloggen turns its source into a state machine
    def control():
        for _ in range(100):
            pass
        ng.sim.set_global_addrs(host, scratch_at)
        began = counts["cycles"].value
        ng.sim.start(host)
        ng.sim.wait(host)
        print("COUNTED cycles", counts["cycles"].value - began)
        print("COUNTED reads", counts["reads"].value)
        print("COUNTED writes", counts["writes"].value)
        wrong = 0
        for index in range(total):
            found = memory.read_word(index, conv.addr, low)
            wanted = memory.read_word(index, expected_at, low)
            if vthread.verilog.NotEql(found, wanted):
                wrong += 1
        print("COUNTED wrong", wrong)
        vthread.finish()

    vthread.Thread(bench, "control", clk, rst, control).start()
    bench.Instance(accelerator, "accelerator", params=bench.connect_params(accelerator),
                   ports=bench.connect_ports(accelerator))
    simulation.setup_clock(bench, clk, hperiod=5)
    simulation.setup_reset(bench, resetn, bench.make_reset(), period=100, polarity="low")
    return bench, {"memory_bytes": len(memory_image) * 4, "distinct": len(np.unique(expected))}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--act-bits", type=int, choices=(2, 8), required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--par-ich", type=int, default=4)
    parser.add_argument("--par-och", type=int, default=4)
    parser.add_argument("--bus-bits", type=int, default=32)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(arguments.folder)

    with contextlib.redirect_stdout(sys.stderr):
        inputs, conv = layer(arguments)
        accelerator = ng.to_veriloggen([conv], "nngen_layer", silent=True,
                                       config={"maxi_datawidth": arguments.bus_bits})
        Path("accelerator.v").write_text(accelerator.to_verilog())
        bench, about = testbench(accelerator, inputs, conv, arguments)
        log = simulation.run_verilator(bench, outputfile="model")
        Path("simulation.log").write_text(log)
    counted = {name: int(value) for name, value in re.findall(r"COUNTED (\w+) +(\d+)", log)}
    print(json.dumps({**vars(arguments), "folder": str(arguments.folder), **counted, **about,
                      "input_bytes": inputs.memory_size, "output_bytes": conv.memory_size,
                      "weight_bytes": int(np.prod(conv.args[1].shape))}))


if __name__ == "__main__":
    main()
