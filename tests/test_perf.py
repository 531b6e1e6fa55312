"""The model of cycles, traffic and energy, against figures by hand and the reference."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from bamac.compiler import compile_network
from bamac.ir.network import Conv2d, Dense, InputSpec, IntegerNetwork
from bamac.ir.random_networks import paper_network, random_case
from bamac.perf import energy
from bamac.perf.cycles import CAUSES, adding_cycles, bounds, predict
from bamac.perf.events import LayerEvents, job_cycles, tile_events
from bamac.perf.traffic import MEMORY_COUNTERS, access_bytes, lower_bounds, traffic
from bamac_hw.abi.counters import COUNTERS
from bamac_hw.abi.descriptors import Emit, Source
from bamac_hw.geometry import Geometry

# --- Cycles


def paper(clips=1):
    program = compile_network(paper_network().network, Geometry.preset("small"))
    return program, predict(program, clips=clips)


def test_additions_slots_of_the_papers_convolutions():
    _, predicted = paper()
    # Tiles x taps x bits: 124*60*9*8, 62*30*9*32, 31*15*9*32, 2*16*8*9*32
    assert [layer["cycles_compute"] for layer in predicted["layers"][:4]] == [
        535_680, 535_680, 133_920, 73_728]


def test_every_cycle_has_one_cause():
    _, predicted = paper()
    assert predicted["cycles"] == sum(
        layer[f"cycles_{cause}"] for layer in predicted["layers"] for cause in CAUSES)


def test_two_cycles_for_each_tile_and_pass():
    _, predicted = paper()
    assert [layer["cycles_tile"] for layer in predicted["layers"]] == [
        2 * 124 * 60, 2 * 62 * 30, 2 * 31 * 15, 2 * 2 * 16 * 8, 2 * 2, 2 * 2, 2]


def test_one_cycle_for_each_tile_and_one_for_each_pass_in_the_event_driven_walk():
    case = paper_network()
    program = compile_network(case.network, Geometry.preset("small_event"))
    layers = predict(program, case.network, case.frames)["layers"]
    assert [layer["cycles_tile"] for layer in layers] == [
        124 * 61, 62 * 31, 31 * 16, 2 * 16 * 9, 2 * 2, 2 * 2, 2]
    # One start value for each tile and pass
    starts = 124 * 60 + 62 * 30 + 31 * 15 + 2 * 16 * 8 + 2 + 2 + 1
    assert adding_cycles(program, layers) == starts + sum(
        layer["cycles_compute"] for layer in layers)


def test_first_clip_waits_for_three_frames_and_the_second_for_none():
    _, one = paper()
    _, two = paper(clips=2)
    # Three frames of 120 values, seen a cycle later, less the look that finds nothing.
    assert one["layers"][0]["cycles_wait_input"] == 3 * 120
    assert two["layers"][0]["cycles_wait_input"] == 3 * 120


def test_memory_accesses_by_hand():
    program, predicted = paper()
    conv1, conv2 = predicted["layers"][:2]
    # Start bytes of each job, and nine rows for each tile: planes share a row.
    assert conv1["weight_reads"] == 124 * 3 + 124 * 60 * 9
    assert conv2["weight_reads"] == 62 * 3 + 62 * 30 * 9 * 32
    assert conv1["line_writes"] == 124 * 60 and conv1["input_writes"] == 249 * 120
    # Taps inside the map: 248 rows of 3, less the row above; 120 columns of 3, less two sides.
    assert conv1["input_reads"] == (248 * 3 - 1) * (120 * 3 - 2)
    assert lower_bounds(program)["input_buffer"] == 2 * 249 * 120


def event_driven(case, streams=1):
    return compile_network(case.network, replace(Geometry.preset("small_event"), streams=streams))


def test_event_driven_cycles_need_the_input():
    case = random_case(7, pools=((1, 1), (2, 2)))
    program = event_driven(case)
    with pytest.raises(ValueError, match="small_event is event-driven: .* give network and frames"):
        predict(program)
    one = predict(program, case.network, case.frames[0])
    two = predict(program, case.network, np.concatenate([case.frames[:1]] * 2))
    assert two["layers"][1]["cycles_compute"] == 2 * one["layers"][1]["cycles_compute"]


def test_every_cycle_of_the_event_driven_walk_has_one_cause():
    case = random_case(7, pools=((1, 1), (2, 2)))
    predicted = predict(event_driven(case), case.network, case.frames[0])
    assert predicted["cycles"] == sum(
        layer[f"cycles_{cause}"] for layer in predicted["layers"] for cause in CAUSES)


@pytest.mark.parametrize("seed, streams", [*((seed, 1) for seed in range(6)), (0, 2), (4, 2)])
def test_bounds_hold_for_any_input(seed, streams):
    case = random_case(seed, pools=((1, 1), (2, 2)))
    program = event_driven(case, streams)
    limits = bounds(program)
    predicted = predict(program, case.network, case.frames[0])
    assert limits["best"]["cycles"] <= predicted["cycles"] <= limits["worst"]["cycles"]
    for best, layer, worst in zip(limits["best"]["layers"], predicted["layers"],
                                  limits["worst"]["layers"], strict=True):
        for name in COUNTERS:
            if name not in ("cycles_fetch", "cycles_collect", "cycles_schedule",
                            "cycles_wait_input"):
                assert best[name] <= layer[name] <= worst[name], name
    assert sum(layer["cycles_compute"] for layer in limits["best"]["layers"]) == 0


def test_bounds_hold_where_passes_have_no_events():
    # Two passes over 49 words each
    case = random_case(601018, acc_bits=24, pools=((1, 1), (1, 2), (1, 4)))
    geometry = Geometry("wide", tile_rows=1, tile_cols=4, channels=16, acc_bits=24,
                        weight_rows=8192, line_words=4096, walk="event")
    program = compile_network(case.network, geometry)
    cycles = predict(program, case.network, 0 * case.frames)["cycles"]
    assert bounds(program)["best"]["cycles"] <= cycles <= bounds(program)["worst"]["cycles"]


def test_bounds_of_the_dense_walk_are_what_it_takes():
    program, predicted = paper()
    assert bounds(program) == {"best": predicted, "worst": predicted}


def test_events_by_hand():
    """One 1 x 2 kernel with stride 1 over three signed values, a bit map of it, a dense layer."""
    network = IntegerNetwork("hand", InputSpec(1, 3, 8, True), (
        Conv2d("conv1", np.array([[[[1, 2]]]]), np.array([0]), 1, (0, 0, 0, 0), (1, 1), "sum"),
        Dense("dense1", np.array([[3]]), np.array([0]), "raw")))
    program = compile_network(network, Geometry("pair", tile_rows=1, tile_cols=2, channels=4,
                                                weight_rows=64, walk="event"))
    conv, dense = tile_events(program, network, np.array([[5, -3, 0]]))
    # Tap 0 sees 5 and -3: planes 0 and 2 of one sign, 0 and 1 of the other. Tap 1 sees -3 and 0.
    assert conv.events.tolist() == [[[[4, 2]]]] and conv.weight_rows.tolist() == [[[[2, 1]]]]
    # Sums -1 and -3 are below 0: the count is 0.
    assert dense.events.tolist() == [[[[0]]]] and dense.weight_rows.tolist() == [[[[0]]]]
    conv, dense = tile_events(program, network, np.array([[-128, 127, 64]]))
    assert conv.events.tolist() == [[[[8, 7]]]] and conv.weight_rows.tolist() == [[[[2, 1]]]]
    # 126 and 255: both bits are 1.
    assert dense.events.tolist() == [[[[1]]]]


def test_events_of_two_streams_by_hand():
    """The second row of a tile of two has events of its own; a head vector is the first pixel's."""
    network = IntegerNetwork("hand", InputSpec(2, 1, 8, True), (
        Conv2d("conv1", np.array([[[[1]]]]), np.array([0]), 1, (0, 0, 0, 0), (1, 1), "sum"),
        Dense("dense1", np.array([[3]]), np.array([0]), "raw")))
    geometry = Geometry("two", tile_rows=2, tile_cols=1, channels=4, weight_rows=64, walk="event",
                        streams=2)
    program, frames = compile_network(network, geometry), np.array([[5], [63]])
    conv, dense = tile_events(program, network, frames)
    assert conv.events.tolist() == [[[[2]], [[6]]]]
    assert conv.weight_rows.tolist() == [[[[1]], [[1]]]]
    assert dense.events.tolist() == [[[[1]], [[0]]]]    # a sum of 2
    conv, dense = predict(program, network, frames)["layers"]
    # The second stream's 6 events go beside the first one's 2; each reads its row of weights
    assert conv["cycles_compute"] == 6 and conv["weight_reads"] == 3 + 2
    assert dense["cycles_compute"] == 1 and dense["weight_reads"] == 3 + 1


def test_a_cycle_of_two_streams_computes_if_either_does():
    # A word has four windows, so those of the tile can be held from cycles 12 and 16 on. One stream
    # has events in 12 to 14 and 16, the other in 12 and 16 to 19.
    events = np.array([[[[3, 1]], [[1, 4]]]])
    walk = SimpleNamespace(fetches=3 * 2, passes=1, out_channels=4, source=Source.LINE,
                           emit=Emit.MAP)
    geometry = Geometry("two", channels=4, weight_rows=64, walk="event", streams=2)
    cycles = job_cycles(walk, geometry, events)
    assert {name: count.tolist() for name, count in cycles.items()} == {
        "compute": [7], "fetch": [7 + 1], "tile": [2], "collect": [0]}


def test_cycles_of_a_vectors_high_planes_by_hand():
    words = LayerEvents.of_words(np.array([0, 0xFF, 0x100, 0x301, 0xFFFF], np.uint64),
                                 Source.VECTOR)
    assert words.events.tolist() == [0, 8, 2, 1 + 2 + 4, 8 + 2 * 255]
    assert words.weight_rows.tolist() == [0, 1, 1, 1, 1]


# --- Accesses and bytes


def test_bytes_of_an_access_by_hand():
    # 92 bits of state in array small: see test_layer_state.py
    assert access_bytes(Geometry.preset("small")) == {
        "weights": 32, "input_buffer": 1, "line_buffers": 4, "vectors": 2, "descriptors": 4,
        "layer_state": 12, "stream": 1}
    assert access_bytes(Geometry.preset("small_pair"))["weights"] == 64
    assert access_bytes(Geometry.preset("small_event"))["input_buffer"] == 9 / 8
    assert access_bytes(Geometry.preset("small_int8"))["vectors"] == 3


def test_layer_state_of_the_papers_network_takes_81_bytes():
    memory = compile_network(paper_network().network, Geometry.preset("small")).manifest["memory"]
    assert memory["used_bytes"]["layer_state"] == 81     # 7 layers of 92 bits
    assert memory["capacity_bytes"]["layer_state"] == 173  # 15


def test_traffic_is_accesses_times_their_width():
    program = compile_network(paper_network().network, Geometry.preset("small"))
    layers = predict(program, clips=2)["layers"]
    counted = [{name: 3 * value if name.endswith("_reads") else value
                for name, value in layer.items()} for layer in layers]
    found = traffic(program, counted, layers, 2)
    assert list(found) == list(MEMORY_COUNTERS)
    reads = sum(layer["weight_reads"] for layer in layers)
    assert found["weights"] == {
        "counted": {"accesses": 3 * reads, "bytes": 3 * 32 * reads},
        "predicted": {"accesses": reads, "bytes": 32 * reads},
        "lower_bound": {"accesses": 2 * len(program.weights),
                        "bytes": 2 * 32 * len(program.weights)}}
    assert found["layer_state"]["lower_bound"] == {"accesses": 0, "bytes": 0}


# --- Energy


def counts(**changes):
    layer = {"name": "conv1", "lane_adds": 1000, "lane_steps": 4000, "macs": 4000,
             "accesses": {"weights": 10, "line_buffers": 20, "descriptors": 3}}
    return {"acc_bits": 20, "layers": [layer], "front_end": None,
            "memories": {"weights": {"bytes": 65536, "access_bits": 256},
                         "line_buffers": {"bytes": 8000, "access_bits": 32},
                         "descriptors": {"bytes": 1024, "access_bits": 32}}} | changes


def test_entries_are_the_cited_ones():
    horowitz, jouppi = energy.TABLES["horowitz-45nm"], energy.TABLES["jouppi-7nm"]
    assert (horowitz.add(8), horowitz.add(32), horowitz.multiply(8)) == (0.03, 0.1, 0.2)
    assert (horowitz.fp32_add, horowitz.fp32_multiply) == (0.9, 3.7)
    assert [horowitz.access(kb * 1024, 64) for kb in (1, 8, 9, 32, 33, 1024)] == [
        10, 10, 20, 20, 100, 100]
    assert (jouppi.add(8), jouppi.add(32), jouppi.multiply(8)) == pytest.approx(
        (0.007, 0.03, 0.07))
    assert [jouppi.access(kb * 1024, 64) for kb in (8, 32, 1024)] == [7.5, 8.5, 14]
    assert "ISSCC 2014" in horowitz.citation and "ISCA 2021" in jouppi.citation


def test_qkeras_formulas_by_hand():
    table = energy.TABLES["qkeras-45nm"]
    assert table.add(16) == pytest.approx(0.05)
    # 0.002994791667 * 64 + 0.001041666667 * 8
    assert table.multiply(8) == pytest.approx(0.2, abs=1e-6)
    # 8 kB are 2^16 bits: 9.02427321e-4 * 4096 - 2.68847858e-2 * 256 + 0.208900804 * 16
    assert table.access(8192, 1) == pytest.approx(0.156250, abs=1e-4)


def test_binary_layer_by_hand():
    result = energy.estimate(counts())["tables"]["horowitz-45nm"]["binary"]
    # 20-bit addition: 0.03 + 12 / 24 * 0.07 = 0.065 pJ; a gate is 0.003 pJ
    assert result["arithmetic_uj"] == pytest.approx((1000 * 0.065 + 4000 * 0.003) / 1e6)
    # 64 kB is beyond 32 kB: 100 pJ per 64 bits, 256 bits each
    assert result["weights_uj"] == pytest.approx(10 * 400 / 1e6)
    assert result["activations_uj"] == pytest.approx(20 * 5 / 1e6)
    assert result["control_uj"] == pytest.approx(3 * 5 / 1e6)
    assert result["front_end_uj"] == 0
    assert result["total_uj"] == pytest.approx(sum(result[f"{p}_uj"] for p in energy.PURPOSES))


def test_wider_variants_by_hand():
    tables = energy.estimate(counts())["tables"]["horowitz-45nm"]
    assert tables["int8"]["arithmetic_uj"] == pytest.approx(4000 * (0.2 + 0.1) / 1e6)
    assert tables["fp32"]["arithmetic_uj"] == pytest.approx(4000 * 4.6 / 1e6)
    assert tables["int8"]["weights_uj"] == tables["binary"]["weights_uj"]
    assert tables["fp32"]["weights_uj"] == pytest.approx(4 * tables["binary"]["weights_uj"])
    # Eight times the bits in a memory of 64 kB instead of 8: the next class but one
    assert tables["int8"]["activations_uj"] == pytest.approx(20 * 100 * 256 / 64 / 1e6)
    assert tables["fp32"]["activations_uj"] == pytest.approx(20 * 100 * 1024 / 64 / 1e6)
    assert tables["fp32"]["control_uj"] == tables["binary"]["control_uj"]


def test_every_result_is_called_an_estimate_and_cites_its_source():
    result = energy.estimate(counts())
    assert result["kind"] == "estimate"
    assert len({table["node_nm"] for table in result["tables"].values()}) >= 2
    assert all(table["citation"] for table in result["tables"].values())


def test_layers_add_up():
    layers = [dict(counts()["layers"][0], name=name) for name in ("a", "b")]
    result = energy.estimate(counts(layers=layers))["tables"]["jouppi-7nm"]["int8"]
    for purpose in energy.PURPOSES[:-1]:
        key = f"{purpose}_uj"
        assert result[key] == pytest.approx(sum(layer[key] for layer in result["layers"]))


def test_front_end_is_counted_per_frame():
    one, many = energy.front_end_counts(1), energy.front_end_counts(249)
    assert many["multiplies"] == pytest.approx(249 * one["multiplies"], rel=1e-3)
    # Between the window alone and a plain matrix of the transform
    assert 640 < one["multiplies"] < 640 * 321 * 2
    with_it = energy.estimate(counts(front_end=many))["tables"]["horowitz-45nm"]
    assert with_it["binary"]["front_end_uj"] == with_it["fp32"]["front_end_uj"] > 0


def test_memory_without_a_size_is_refused():
    with pytest.raises(KeyError, match="memory 'weights' of layer conv1 has no size"):
        energy.estimate(counts(memories={}))
