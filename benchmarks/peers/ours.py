"""The same convolution on our accelerator: counters of one layer, from the RTL."""

import numpy as np

from bamac.compiler import compile_network
from bamac.ir import reference
from bamac.ir.network import Conv2d, Dense, InputSpec, IntegerNetwork
from bamac.perf.cycles import CAUSES, predict
from bamac_hw.abi.counters import COUNTERS
from bamac_hw.geometry import Geometry
from bamac_sim.simulate import Job, simulate_many

__all__ = ["measure", "network"]

MEASURED = "measured"


def network(size, channels):
    """A network whose second layer is the measured convolution.

    Frames are ``size`` x ``size`` bits. The first layer makes ``channels`` maps of them with about
    half ones, and the third reads the maps of the second. So the measured layer is an inner one: it
    reads and writes binary maps and pools nothing.
    """
    rng = np.random.default_rng(1)
    same = (1, 1, 1, 1)
    return IntegerNetwork("layer", InputSpec(size, size, 1, False), [
        Conv2d("spread", rng.integers(-127, 128, (channels, 1, 3, 3)),
               rng.integers(-100, 101, channels), 1, same, (1, 1), None),
        Conv2d(MEASURED, rng.integers(-127, 128, (channels, channels, 3, 3)),
               rng.integers(-200, 201, channels), 1, same, (1, 1), None),
        Conv2d("gather", rng.integers(-127, 128, (1, channels, 1, 1)), np.zeros(1, np.int64), 1,
               (0, 0, 0, 0), (1, 1), "max"),
        Dense("score", np.ones((1, 1), np.int64), np.zeros(1, np.int64)),
    ])


def measure(array, sizes, channels=32):
    """One dict per size, from the RTL's counters.

    Raises
    ------
    RuntimeError
        If a score or an output bit differs from the reference, or a counter from the model.
    """
    geometry = Geometry.preset(array)
    networks = [network(size, channels) for size in sizes]
    frames = [np.random.default_rng(2).integers(0, 2, (size, size)).astype(np.int16)
              for size in sizes]
    programs = [compile_network(net, geometry) for net in networks]
    results = simulate_many([Job(program, clip)
                             for program, clip in zip(programs, frames, strict=True)])
    return [_row(*each) for each in zip(sizes, networks, programs, frames, results, strict=True)]


def _row(size, net, program, frames, result):
    geometry = program.geometry
    expected = reference.run(net, frames)
    predicted = predict(program, net, frames)
    bits = expected.layers[MEASURED].bits
    index = [row["name"] for row in program.layers].index(MEASURED)
    if not (np.array_equal(result.outputs[0], expected.outputs)
            and np.array_equal(result.trace[0][MEASURED]["bits"], bits)):
        raise RuntimeError(f"{geometry.name}, {size} x {size}: not bit-exact")
    for counters, layer in zip(result.counters, predicted["layers"], strict=True):
        wrong = [name for name in COUNTERS if name != "events" and counters[name] != layer[name]]
        if wrong:
            raise RuntimeError(f"{geometry.name}, {size} x {size}: {layer['name']} counts another "
                               f"{wrong[0]} than the model")
    counted, conv = result.counters[index], net.layers[index]
    macs = bits.size * conv.in_channels * 9
    causes = {cause: int(counted[f"cycles_{cause}"]) for cause in CAUSES}
    cycles = sum(causes.values())
    weights = sum(layer.weights.size for layer in net.layers)
    return {
        "array": geometry.name, "size": size, "peak": geometry.lanes, "cycles": cycles,
        "causes": causes, "macs": int(macs), "utilisation": macs / geometry.lanes / cycles,
        "run_cycles": int(result.elapsed), "ones": float(expected.layers["spread"].bits.mean()),
        # Traffic between accelerator and outside: frames, the program, one score
        "stream_bytes": int(frames.size), "score_bytes": 4 * len(expected.outputs),
        "program_bytes": int(program.weights.size + 4 * program.descriptors.size),
        # Of the whole small network: its bits, its weights, its score
        "compulsory_bytes": frames.size // 8 + weights + 4 * len(expected.outputs),
    }
