"""Accesses and bytes of each memory, against figures by hand."""

from bamac.compiler import compile_network
from bamac.ir.random_networks import paper_network
from bamac.perf.cycles import predict
from bamac.perf.traffic import MEMORY_COUNTERS, access_bytes, traffic
from bamac_hw.geometry import Geometry


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
