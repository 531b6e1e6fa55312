"""A board's run as plain values, compared with the reference and the model on request."""

from __future__ import annotations

import numpy as np

from bamac_hw.abi.counters import COUNTERS

__all__ = ["describe"]

# These depend on when the host sends frames and takes scores.
TIMED = ("cycles_collect", "cycles_schedule", "cycles_wait_input", "cycles_wait_output",
         "state_reads")


def describe(program, network, frames, run, *, check):
    """The result object of ``bamac host``.

    Parameters
    ----------
    program : Program
    network : IntegerNetwork
    frames : int array (windows, rows, cols)
    run : BoardRun
    check : bool
        Compute the reference and the model's counts too, and list what differs.
    """
    counters = [{name: int(value) for name, value in layer.items()} for layer in run.counters]
    scores = run.outputs * network.score_scale + network.score_offset
    waits = [name for name in COUNTERS if name.startswith("cycles_wait_")]
    busy = [name for name in COUNTERS if name.startswith("cycles_") and name not in waits]

    def total(names):
        return sum(layer[name] for layer in counters for name in names) if all(counters) else None
    result = {
        "network": network.name, "array": program.geometry.name, "windows": len(frames),
        "score": float(scores[:, 0].mean()), "scores": scores.tolist(),
        "outputs": run.outputs.tolist(),
        "busy_cycles": total(busy), "waiting_cycles": total(waits),
        "layers": [{"name": row["name"], **layer}
                   for row, layer in zip(program.layers, counters, strict=True)],
        "load_s": round(run.load_seconds, 3), "run_s": round(run.run_seconds, 3),
        "checked": check, "reference_score": None, "compared": 0, "differences": [],
    }
    if check:
        result |= _differences(program, network, frames, run, counters)
    return result


def _differences(program, network, frames, run, counters):
    from bamac.ir import reference
    from bamac.verify import counter_differences, expected_counters

    found, compared = [], 0
    expected = [reference.run(network, window) for window in frames]
    for number, (window, given) in enumerate(zip(expected, run.outputs, strict=True)):
        compared += len(given)
        if window.outputs.tolist() != given.tolist():
            found.append(f"window {number}: outputs {given.tolist()} from the board, "
                         f"{window.outputs.tolist()} from the reference")
    if all(counters):
        checks = list(counter_differences(
            counters, expected_counters(program, network, frames), skip=TIMED))
        compared += len(checks)
        found += filter(None, checks)
    scores = np.stack([window.scores for window in expected])
    return {"reference_score": float(scores[:, 0].mean()), "compared": compared,
            "differences": found}
