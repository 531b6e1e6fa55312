"""What a faultless simulation of a program gives, from the reference and the model."""

from types import SimpleNamespace

import numpy as np

from bamac.compiler import lower_for
from bamac.ir import reference
from bamac.perf.cycles import predict, predict_events


def faultless(program, network, frames):
    """Stands in for :class:`bamac_sim.simulate.SimulationResult`."""
    lowered = lower_for(network, program.geometry)
    native = lowered.network
    predicted = predict(program, network, frames)
    counters = [dict(layer) for layer in predicted["layers"]]
    traces, outputs = [], []
    for window in frames:
        result = reference.run(native, lowered.arrange(window))
        outputs.append(result.outputs)
        traces.append({row["name"]: (
            {"bits": result.layers[row["name"]].bits[:, :row["tiled_rows"],
                                                     :row["tiled_cols"]].copy()}
            if row["kind"] == "conv" else {"outputs": result.layers[row["name"]].outputs.copy()})
            for row in program.layers})
        for layer, ones in zip(counters, predict_events(program, network, window), strict=True):
            layer["events"] += ones
    for layer in counters:
        del layer["name"]
    return SimpleNamespace(outputs=np.stack(outputs), cycles=predicted["cycles"],
                           counters=counters, trace=traces)
