"""Stands in for ``bamac_sim.simulate`` where a test is about the command, not the hardware."""

import types

import numpy as np

from bamac.ir import reference
from bamac.perf.cycles import predict, predict_events


def module(networks, change=None):
    """A module whose ``simulate`` answers from the reference and the model.

    ``networks`` maps digests to the networks that programs may be of; ``change(result)`` may spoil
    the answer.
    """
    def simulate(program, frames, **_options):
        network = networks[program.manifest["network"]["digest"]]
        predicted = predict(program, network, frames)
        counters = [dict(layer) for layer in predicted["layers"]]
        for layer in counters:
            layer["events"] = 0
        traces, outputs = [], []
        for window in frames:
            result = reference.run(network, window)
            outputs.append(result.outputs)
            traces.append({})
            for layer, events in zip(counters, predict_events(program, network, window),
                                     strict=True):
                layer["events"] += events
            for row in program.layers:
                layer = result.layers[row["name"]]
                if hasattr(layer, "bits"):
                    values = {"bits": layer.bits[:, :row["tiled_rows"], :row["tiled_cols"]]}
                else:
                    values = {"outputs": layer.outputs}
                traces[-1][row["name"]] = values
        answer = types.SimpleNamespace(
            outputs=np.stack(outputs), cycles=predicted["cycles"], counters=counters,
            trace=traces)
        if change is not None:
            change(answer)
        return answer

    made = types.ModuleType("bamac_sim.simulate")
    made.simulate = simulate
    return made
