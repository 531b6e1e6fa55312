"""The hardware's results against the reference's and the model's: one comparison for everybody.

:func:`simulate_program` runs a program on the simulated RTL and compares every layer's output,
every score, the cycles and every counter. :func:`compare` does the comparison for results
from elsewhere. Both take any network that compiles. The hardware's values are compared twice: with
the network that the array runs, channel by channel, and with the original network's layers, put
together from those channels.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bamac.compiler import Lowered, lower_for
from bamac.errors import InputError
from bamac.ir import reference, trace
from bamac.ir.checks import Array
from bamac.ir.network import IntegerNetwork
from bamac.ir.reference import ReferenceTrace
from bamac.perf.cycles import predict, predict_events
from bamac_hw.program import Program

__all__ = ["Measured", "Verified", "compare", "counter_differences", "equal_layers",
           "expected_counters", "simulate_program"]

Arrays = Mapping[str, Mapping[str, Array]]
"""Per layer, arrays by kind, as :class:`bamac.ir.trace.Trace` has them."""


class Measured(Protocol):
    """What was measured, such as :class:`bamac_sim.simulate.SimulationResult`."""

    @property
    def outputs(self) -> Any: ...
    @property
    def cycles(self) -> int: ...
    @property
    def counters(self) -> Any: ...
    @property
    def trace(self) -> Any: ...


@dataclass(eq=False)
class Verified:
    """What the hardware gave for some windows, and how it compares.

    Parameters
    ----------
    outputs : int64 array (windows, outputs)
        Raw scores of the hardware.
    cycles : int
        Counted, of all windows back to back.
    counters : list of dict
        Per layer of the program, what the hardware counted.
    predicted : dict
        What the model predicts, see :func:`bamac.perf.cycles.predict`.
    references, native_references : list of ReferenceTrace
        What the network computes, and what the network that the array runs does: the same objects
        unless the network was lowered.
    exact, compared : dict
        Per layer of the program, whether all values are equal, and how many were compared.
    traces : list of Trace
        What the hardware computed, as the network's own layers.
    value_differences, count_differences : list of str
        A sentence for each difference in layers and scores, and in cycles and counters.
    """

    outputs: Array
    cycles: int
    counters: list[dict[str, int]]
    predicted: dict[str, Any]
    references: list[ReferenceTrace]
    native_references: list[ReferenceTrace]
    exact: dict[str, bool] = field(default_factory=dict)
    compared: dict[str, int] = field(default_factory=dict)
    traces: list[trace.Trace] = field(default_factory=list)
    value_differences: list[str] = field(default_factory=list)
    count_differences: list[str] = field(default_factory=list)

    @property
    def differences(self) -> list[str]:
        """All differences; empty means that everything is equal."""
        return self.value_differences + self.count_differences

    @property
    def values_equal(self) -> bool:
        """Whether every compared value of every layer, and every score, is the reference's."""
        return not self.value_differences and all(self.exact.values())

    @property
    def counts_equal(self) -> bool:
        """Whether the cycles and every counter of every layer are the model's."""
        return not self.count_differences


def simulate_program(program: Program, network: IntegerNetwork, frames: Array, *,
                     build_dir: str | Path | None = None, waves: str | Path | None = None,
                     progress: Callable[[float, int], object] | None = None) -> Verified:
    """Run windows on the simulated RTL and compare every layer, score, cycle and access.

    Parameters
    ----------
    network : the :class:`IntegerNetwork` that ``program`` was compiled from
    frames : int array (windows, rows, cols)
    build_dir : folder that keeps builds; None is the simulation's own choice
    waves : path of a ``.fst``, ``.vcd`` or ``.saif`` file to write
    progress : called with the fraction done and the cycles so far

    Raises
    ------
    InputError
        If the program is of another network, or its array has no counters.
    """
    from bamac_sim.simulate import simulate

    _check(program, network)
    with _tools_print_to_stderr():
        result = simulate(program, frames, build_dir=build_dir, waves=waves, trace=True,
                          progress=progress)
    return compare(program, network, frames, result)


def compare(program: Program, network: IntegerNetwork, frames: Array,
            measured: Measured) -> Verified:
    """Compare what was measured of some windows with the reference and the model.

    Parameters
    ----------
    network : the network that ``program`` was compiled from
    frames : int array (windows, rows, cols)
    measured : Measured
        With counters. If it has no trace of the layers (None), scores alone are compared.

    Raises
    ------
    InputError
        If the program is of another network, or its array has no counters.
    bamac.ir.trace.TraceError
        If the trace lacks a layer's values or has others of another shape.
    """
    _check(program, network)
    lowered = lower_for(network, program.geometry)
    references = [reference.run(network, window) for window in frames]
    verified = Verified(
        np.asarray(measured.outputs, np.int64), int(measured.cycles), list(measured.counters),
        predict(program, network, frames), references,
        references if lowered.network is network else
        [reference.run(lowered.network, lowered.arrange(window)) for window in frames])
    if measured.trace is None:
        for index in range(len(frames)):
            _compare_scores(program, verified, index)
    else:
        _compare_values(program, network, lowered, frames, verified, measured.trace)
    _compare_counts(program, network, frames, verified)
    return verified


def _check(program: Program, network: IntegerNetwork) -> None:
    if network.digest() != program.manifest["network"]["digest"]:
        raise InputError("Program must be compiled from this network, not from another: "
                         "compile the network again")
    if not program.geometry.counters:
        raise InputError(f"Array {program.geometry.name} must have counters to be checked cycle by "
                         "cycle; they never change the timing")


def _compare_values(program: Program, network: IntegerNetwork, lowered: Lowered, frames: Array,
                    verified: Verified, recorded: Sequence[Arrays]) -> None:
    """Fill in which layers are equal, with a sentence for the first divergence of each window."""
    tile = (program.geometry.tile_rows, program.geometry.tile_cols)
    digest = network.digest()
    names = [row["name"] for row in program.layers]
    verified.exact = dict.fromkeys(names, True)
    verified.compared = dict.fromkeys(names, 0)
    for index, (window, arrays) in enumerate(zip(frames, recorded, strict=True)):
        native = verified.native_references[index].layers
        expected = {name: native[name].arrays() for name in names}
        for name, equal in equal_layers(program, expected, arrays).items():
            verified.exact[name] &= equal
            verified.compared[name] += sum(
                np.asarray(arrays[name][kind]).size for kind in expected[name])
        seen = trace.input_digest(window)
        of_layers, wanted = _own_layers(lowered, verified.references[index], arrays)
        found, pairs = None, [(wanted, of_layers)]
        if lowered.network is not network:
            pairs.append((expected, {name: dict(arrays[name]) for name in names}))
        for first, second in pairs:
            actual = trace.Trace({name: {kind: np.asarray(a) for kind, a in kinds.items()}
                                  for name, kinds in second.items()}, "rtl", digest, seen)
            if second is of_layers:
                verified.traces.append(actual)
            found = found or trace.first_divergence(
                trace.Trace(first, "reference", digest, seen), actual, tile=tile)
        if found is not None:
            verified.value_differences.append(f"window {index}, {found}")
            native_layer = lowered.counterparts.get(found.layer)
            verified.exact[native_layer.layer if native_layer else found.layer] = False
        _compare_scores(program, verified, index)


def _own_layers(lowered: Lowered, computed: ReferenceTrace, arrays: Arrays) -> tuple[
        dict[str, dict[str, Array]], dict[str, dict[str, Array]]]:
    """Of the network's own layers: what the hardware gave, and what the reference did."""
    given = {name: counterpart.values(arrays[counterpart.layer])
             for name, counterpart in lowered.counterparts.items()}
    return given, {name: {kind: computed.layers[name].arrays()[kind] for kind in kinds
                          if kind in computed.layers[name].arrays()}
                   for name, kinds in given.items()}


def _compare_scores(program: Program, verified: Verified, index: int) -> None:
    outputs, wanted = verified.outputs[index], verified.references[index].outputs
    if not np.array_equal(outputs, wanted):
        verified.exact[program.layers[-1]["name"]] = False
        verified.value_differences.append(
            f"window {index}: raw outputs {outputs.tolist()} of the hardware, "
            f"{wanted.tolist()} of the reference")


def equal_layers(program: Program, expected: Arrays, recorded: Arrays) -> dict[str, bool]:
    """Whether each layer of the program has the expected values in one window's trace.

    The hardware does not compute rows and columns of a map that no later layer uses; the rest is
    compared.

    Raises
    ------
    bamac.ir.trace.TraceError
        If a recorded map has another shape than the hardware computes.
    """
    equal = {}
    for row in program.layers:
        name = row["name"]
        equal[name] = True
        for kind, wanted in expected[name].items():
            found = np.asarray(recorded[name][kind])
            if wanted.ndim == 3:
                shape = (row["out_channels"], row["tiled_rows"], row["tiled_cols"])
                if found.shape != shape:
                    raise trace.TraceError(f"Layer {name}: the simulation must trace "
                                           f"{kind} of shape {shape}, not {found.shape}")
                wanted = wanted[:, :shape[1], :shape[2]]
            equal[name] &= bool(np.array_equal(found, wanted))
    return equal


def expected_counters(program: Program, network: IntegerNetwork, frames: Array,
                      predicted: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Every counter of every layer that the model predicts for some windows, ``events`` too.

    Parameters
    ----------
    predicted : dict, optional
        Of :func:`bamac.perf.cycles.predict`, if it is at hand.
    """
    if predicted is None:
        predicted = predict(program, network, frames)
    events = np.sum([predict_events(program, network, window) for window in frames], axis=0)
    return [{**layer, "events": int(ones)}
            for layer, ones in zip(predicted["layers"], events, strict=True)]


def counter_differences(counters: Sequence[Mapping[str, int]],
                        expected: Sequence[Mapping[str, Any]], *,
                        skip: Collection[str] = ()) -> Iterator[str | None]:
    """For each counter of each layer that is compared, a sentence if it differs, else None.

    Parameters
    ----------
    counters : per layer, what was counted
    expected : of :func:`expected_counters`
    skip : names of counters that are left out
    """
    for counted, layer in zip(counters, expected, strict=True):
        for name, value in layer.items():
            if name == "name" or name in skip:
                continue
            yield None if int(counted[name]) == value else (
                f"layer {layer['name']}: {name} {int(counted[name])} counted, {value} predicted")


def _compare_counts(program: Program, network: IntegerNetwork, frames: Array,
                    verified: Verified) -> None:
    predicted = verified.predicted
    if verified.cycles != predicted["cycles"]:
        verified.count_differences.append(f"{verified.cycles} cycles counted, "
                                          f"{predicted['cycles']} predicted")
    expected = expected_counters(program, network, frames, predicted)
    verified.count_differences += filter(None, counter_differences(verified.counters, expected))


@contextmanager
def _tools_print_to_stderr() -> Iterator[None]:
    """While a tool runs, what it prints to stdout goes to stderr: stdout is for results."""
    try:
        sys.stdout.flush()
        saved = os.dup(1)
    except OSError:
        yield
        return
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)
