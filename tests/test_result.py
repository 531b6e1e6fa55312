"""The result object: its figures against independent ones, and its plain values."""

import json
from dataclasses import replace

import numpy as np
import pytest
import toy_layer
from measured import faultless

from bamac.compiler import compile_network
from bamac.ir import reference
from bamac.ir.random_networks import random_case
from bamac.result import build_result, densities
from bamac.verify import compare
from bamac_hw.geometry import Geometry

KEYS = ["schema", "network", "network_digest", "score", "reference_score", "scores", "outputs",
        "bit_exact", "differences", "windows", "cycles", "predicted_cycles", "utilisation",
        "clock_mhz", "time_s", "layers", "traffic", "memory_bytes", "memory_count", "energy",
        "geometry", "versions", "energy_uj"]
LAYER_KEYS = ["name", "kind", "bit_exact", "compared", "cycles", "predicted_cycles",
              "cycles_by_cause", "binary_macs", "additions", "density_in"]


def result_of(network, frames, geometry, **options):
    program = compile_network(network, geometry)
    verified = compare(program, network, frames, faultless(program, network, frames))
    return program, verified, build_result(network, program, frames, verified, clock_mhz=10.0,
                                           **options)


@pytest.mark.parametrize("array", ["small", "small_event", "small_int8"])
def test_result_has_the_figures_of_the_run(array):
    geometry = Geometry.preset(array)
    case = random_case(12, acc_bits=20, windows=2, int8_maps=geometry.int8_maps,
                       pools=((1, 1), (2, 2)))
    program, verified, result = result_of(case.network, case.frames, geometry)
    values = result.to_dict()
    assert list(values) == KEYS and list(values["layers"][0]) == LAYER_KEYS
    assert json.loads(json.dumps(values)) == values     # plain values alone
    assert values["bit_exact"] and values["windows"] == 2
    expected = [reference.run(case.network, window) for window in case.frames]
    assert values["outputs"] == [each.outputs.tolist() for each in expected]
    assert values["score"] == values["reference_score"] == np.mean(
        [each.scores[0] for each in expected])
    assert values["time_s"] == verified.cycles / 1e7
    assert sum(layer["cycles"] for layer in values["layers"]) == values["cycles"]
    macs = 2 * sum(row["binary_macs"] for row in program.layers)
    assert values["utilisation"] == macs / (verified.cycles * geometry.macs_per_cycle)
    for layer, counters in zip(values["layers"], verified.counters, strict=True):
        assert layer["additions"] == counters["events"] * geometry.channels
        assert layer["cycles_by_cause"]["compute"] == counters["cycles_compute"]
    ran = "int8" if geometry.int8_maps else "binary"
    assert values["energy_uj"] == values["energy"]["tables"]["horowitz-45nm"][ran]["total_uj"]


def test_clip_comes_first_and_seconds_last():
    case = random_case(12, pools=((1, 1), (2, 2)))
    _, _, result = result_of(case.network, case.frames, Geometry.preset("small"), seconds=1.5,
                             clip="a.wav")
    assert list(result.to_dict()) == ["clip", *KEYS, "audio_s"]
    assert result.real_time_factor is None
    # Two seconds of audio in a window
    timed = replace(result, window_samples=32_000)
    assert timed.to_dict()["real_time_factor"] == 2.0 / result.time_s


def test_differences_decide_whether_it_is_exact():
    case = random_case(12, pools=((1, 1), (2, 2)))
    _, _, result = result_of(case.network, case.frames, Geometry.preset("small"))
    wrong = replace(result, differences=["window 0, layer conv1"])
    assert result.bit_exact and not wrong.bit_exact
    assert wrong.to_dict()["differences"] == ["window 0, layer conv1"]


def test_densities_count_ones():
    case = random_case(3, windows=2, pools=((1, 1), (2, 2)))
    network, found = case.network, []
    assert network.input.signed
    traces = [reference.run(network, window) for window in case.frames]
    offset = case.frames.astype(int) - network.input.min
    ones = [bin(value).count("1") for value in offset.ravel().tolist()]
    found.append(np.sum(ones) / len(ones) / network.input.bits)
    for conv in network.convs[:-1]:
        found.append(np.mean([trace.layers[conv.name].pooled for trace in traces]))
    for bits, dense in zip(network.vector_bits(), network.denses, strict=True):
        index = network.layers.index(dense) - 1
        vectors = [trace.layers[network.layers[index].name].result for trace in traces]
        ones = [bin(value).count("1") for value in np.ravel(vectors).tolist()]
        found.append(np.sum(ones) / len(ones) / bits)
    np.testing.assert_allclose(densities(network, case.frames, traces), found)


def test_result_of_a_network_with_a_layer_from_outside():
    network, frames = toy_layer.network()
    _, _, result = result_of(network, frames, Geometry.preset("small"))
    assert [layer.name for layer in result.layers] == ["first", "mix", "last", "score"]
    assert result.bit_exact and result.network_digest == network.digest()
