"""The cycle and traffic model against counts by hand; the RTL is in test_sim_accelerator.py."""

from bamac.compiler import compile_network
from bamac.model import CAUSES, lower_bounds, predict
from bamac.random_networks import paper_network
from bamac_hw.geometry import Geometry


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
