"""The comparison of hardware with reference and model: what it accepts, and what it notices."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import toy_layer
from measured import faultless
from toy_layer import Pointwise

from bamac.compiler import compile_network, lowering
from bamac.errors import InputError
from bamac.ir.network import Conv2d
from bamac.ir.random_networks import random_case
from bamac.ir.trace import TraceError
from bamac.verify import compare, counter_differences, equal_layers, expected_counters
from bamac_hw.geometry import Geometry

SMALL = Geometry.preset("small")


@pytest.fixture(params=["small", "small_event", "small_pair", "small_int8"])
def run(request):
    geometry = Geometry.preset(request.param)
    case = random_case(12, acc_bits=20, windows=2, int8_maps=geometry.int8_maps,
                       pools=((1, 1), (2, 2)))
    program = compile_network(case.network, geometry)
    return program, case.network, case.frames, faultless(program, case.network, case.frames)


def test_faultless_run_is_equal_in_every_value_and_count(run):
    program, network, frames, measured = run
    verified = compare(program, network, frames, measured)
    assert verified.differences == []
    assert verified.values_equal and verified.counts_equal
    assert list(verified.exact) == [layer.name for layer in network.layers]
    assert verified.compared == {row["name"]: 2 * row["out_channels"] * row["tiled_rows"]
                                 * row["tiled_cols"] for row in program.layers}
    assert verified.native_references is verified.references


def test_one_wrong_value_is_named_with_its_place(run):
    program, network, frames, measured = run
    name = program.layers[0]["name"]
    measured.trace[1][name]["bits"][0, 0, 0] ^= 1
    verified = compare(program, network, frames, measured)
    assert verified.exact[name] is False and sum(verified.exact.values()) == len(verified.exact) - 1
    assert not verified.values_equal and verified.counts_equal
    (text,) = verified.differences
    assert text.startswith(f"window 1, layer {name}, row 0, col 0, channel 0 (tile 0, 0): bits ")


def test_wrong_output_of_a_dense_layer_is_noticed(run):
    program, network, frames, measured = run
    name = program.layers[-1]["name"]
    measured.trace[0][name]["outputs"][0] += 1
    assert not compare(program, network, frames, measured).exact[name]


def test_wrong_score_is_noticed_without_a_trace_too(run):
    program, network, frames, measured = run
    measured.outputs[1, 0] += 1
    measured.trace = None
    verified = compare(program, network, frames, measured)
    assert not verified.values_equal and not verified.exact[program.layers[-1]["name"]]
    (text,) = verified.differences
    assert text.startswith(f"window 1: raw outputs {measured.outputs[1].tolist()} of the hardware")


@pytest.mark.parametrize("counter", ["cycles_load", "weight_reads", "events", "scores"])
def test_counter_that_is_off_by_one_is_noticed(run, counter):
    program, network, frames, measured = run
    measured.counters[-1][counter] += 1
    verified = compare(program, network, frames, measured)
    assert verified.values_equal and not verified.counts_equal
    counted = measured.counters[-1][counter]
    assert verified.differences == [f"layer {program.layers[-1]['name']}: {counter} {counted} "
                                    f"counted, {counted - 1} predicted"]


def test_cycles_that_are_off_are_noticed(run):
    program, network, frames, measured = run
    measured.cycles += 1
    assert compare(program, network, frames, measured).differences == [
        f"{measured.cycles} cycles counted, {measured.cycles - 1} predicted"]


def test_map_of_another_shape_is_refused():
    case = random_case(12, pools=((1, 1), (2, 2)))
    program = compile_network(case.network, SMALL)
    measured = faultless(program, case.network, case.frames)
    row = program.layers[0]
    bits = measured.trace[0][row["name"]]["bits"]
    measured.trace[0][row["name"]]["bits"] = bits[:, 1:]
    with pytest.raises(TraceError) as error:
        compare(program, case.network, case.frames, measured)
    shape = row["out_channels"], row["tiled_rows"], row["tiled_cols"]
    assert str(error.value) == (f"Layer {row['name']}: the simulation must trace bits of shape "
                                f"{shape}, not {bits[:, 1:].shape}")


def test_equal_layers_leaves_out_what_the_hardware_does_not_compute():
    case = random_case(12, pools=((1, 1), (2, 2)))
    program = compile_network(case.network, SMALL)
    (recorded,) = faultless(program, case.network, case.frames).trace
    expected = {name: dict(arrays) for name, arrays in recorded.items()}
    for row in program.layers:
        if row["kind"] == "conv":
            expected[row["name"]]["bits"] = np.pad(recorded[row["name"]]["bits"],
                                                   ((0, 0), (0, 1), (0, 2)), constant_values=7)
    assert equal_layers(program, expected, recorded) == {
        row["name"]: True for row in program.layers}


def test_counters_that_depend_on_the_host_can_be_left_out(run):
    program, network, frames, measured = run
    expected = expected_counters(program, network, frames)
    measured.counters[0]["cycles_wait_input"] += 5
    checks = list(counter_differences(measured.counters, expected))
    assert sum(check is not None for check in checks) == 1
    fewer = list(counter_differences(measured.counters, expected, skip=["cycles_wait_input"]))
    assert fewer == [None] * (len(checks) - len(program.layers))


def test_program_of_another_network_and_array_without_counters_are_refused():
    case, other = (random_case(seed, pools=((1, 1),)) for seed in (1, 2))
    program = compile_network(case.network, SMALL)
    with pytest.raises(InputError, match="^Program must be compiled from this network"):
        compare(program, other.network, other.frames, None)
    silent = compile_network(case.network, replace(SMALL, name="silent", counters=False))
    with pytest.raises(InputError, match="^Array silent must have counters"):
        compare(silent, case.network, case.frames, None)


# --- layers from outside the package


def test_lowered_layer_is_compared_under_its_own_name():
    network, frames = toy_layer.network()
    program = compile_network(network, SMALL)
    measured = faultless(program, network, frames)
    verified = compare(program, network, frames, measured)
    assert verified.differences == [] and verified.compared["mix"] == 6 * 9 * 10
    assert type(verified.references[0].layers["mix"]).__name__ == "ConvTrace"
    measured.trace[0]["mix"]["bits"][2, 4, 5] ^= 1
    verified = compare(program, network, frames, measured)
    assert verified.exact == {"first": True, "mix": False, "last": True, "score": True}
    assert verified.differences[0].startswith("window 0, layer mix, row 4, col 5, channel 2")


@dataclass(frozen=True, eq=False)
class Block(Pointwise):
    """Two pointwise convolutions, the second with weights of one."""

    def run(self, activations, before, *, keep_acc=False):
        return super().run(activations, before, keep_acc=keep_acc)


@lowering(Block)
def _(layer, before):
    same = np.eye(layer.out_channels, dtype=int)
    return [Pointwise(f"{layer.name}.mix", layer.weights, layer.thresholds),
            Conv2d(f"{layer.name}.same", same[:, :, None, None],
                   np.ones(layer.out_channels, int))]


def test_layer_that_becomes_several_is_compared_under_their_names():
    network, frames = toy_layer.network()
    first, mix, *others = network.layers
    network = replace(network, layers=(
        first, Block("mix", mix.weights, mix.thresholds), *others))
    program = compile_network(network, SMALL)
    verified = compare(program, network, frames, faultless(program, network, frames))
    assert verified.differences == []
    assert list(verified.exact) == ["first", "mix.mix", "mix.same", "last", "score"]
    np.testing.assert_array_equal(verified.native_references[0].layers["mix.same"].bits,
                                  verified.references[0].layers["mix"].bits)
