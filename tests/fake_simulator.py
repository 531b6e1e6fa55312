"""Stands in for ``bamac_sim.simulate`` where a test is about the command, not the hardware."""

import types

import numpy as np
from bamac import pipeline, reference
from bamac.model import predict, predict_events
from bamac_hw.program import Program


def module(change=None):
    """A module whose ``simulate`` answers from the reference and the model.

    ``change(result)`` may spoil the answer.
    """
    def simulate(program_dir, frames, build_dir=None, waves=None, trace=None, **_options):
        program = Program.load(program_dir)
        network = pipeline.load_model(f"{program_dir}/{pipeline.NETWORK_FILE}")
        predicted = predict(program, clips=len(frames))
        counters = [dict(layer) for layer in predicted["layers"]]
        for layer in counters:
            layer["events"] = 0
        traces, outputs = {}, []
        for window in frames:
            result = reference.run(network, window)
            outputs.append(result.outputs)
            for layer, events in zip(counters, predict_events(program, network, window),
                                     strict=True):
                layer["events"] += events
            for row in program.layers:
                layer = result.layers[row["name"]]
                if hasattr(layer, "bits"):
                    values = layer.bits[:, :row["tiled_rows"], :row["tiled_cols"]]
                    traces.setdefault(f"{row['name']}/bits", []).append(values)
                else:
                    traces.setdefault(f"{row['name']}/outputs", []).append(layer.outputs)
        answer = types.SimpleNamespace(
            outputs=np.stack(outputs), cycles=predicted["cycles"], counters=counters,
            trace={key: np.stack(values) for key, values in traces.items()})
        if change is not None:
            change(answer)
        return answer

    made = types.ModuleType("bamac_sim.simulate")
    made.simulate = simulate
    return made
