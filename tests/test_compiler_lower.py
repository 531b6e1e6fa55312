"""Lowering: layer types from outside the package become native ones."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import toy_layer
from toy_layer import Pointwise

from bamac.compiler import CompileError, compile_network, lower_network, lowering
from bamac.ir import reference
from bamac.ir.network import Conv2d
from bamac.ir.random_networks import random_case
from bamac.perf.cycles import bounds, predict, predict_events
from bamac_hw.geometry import Geometry


def test_network_of_native_layers_is_left_alone():
    network = random_case(1).network
    assert lower_network(network) is network


def test_lowered_network_computes_the_same_layer_by_layer():
    network, (window,) = toy_layer.network()
    native = lower_network(network)
    assert [type(layer) for layer in native.layers[:3]] == [Conv2d] * 3
    wanted, found = reference.run(network, window), reference.run(native, window)
    assert 0.1 < wanted.layers["mix"].bits.mean() < 0.9
    for name, layer in wanted.layers.items():
        for kind, array in layer.arrays().items():
            np.testing.assert_array_equal(found.layers[name].arrays()[kind], array, err_msg=name)


@pytest.mark.parametrize("array", ["small", "small_event", "small_pair"])
def test_program_is_that_of_the_lowered_network_and_names_the_one_it_came_from(array):
    network, (window,) = toy_layer.network()
    native, geometry = lower_network(network), Geometry.preset(array)
    program, wanted = (compile_network(each, geometry) for each in (network, native))
    np.testing.assert_array_equal(program.weights, wanted.weights)
    np.testing.assert_array_equal(program.descriptors, wanted.descriptors)
    assert program.manifest["network"]["digest"] == network.digest() != native.digest()
    assert predict(program, network, window) == predict(wanted, native, window)
    assert predict_events(program, network, window) == predict_events(wanted, native, window)
    assert bounds(program)["best"]["cycles"] <= predict(program, network, window)["cycles"]


def test_digest_of_a_layer_from_outside_follows_all_of_its_fields():
    network, _ = toy_layer.network()
    first, mix, *others = network.layers
    for changes in ({"weights": mix.weights + 1}, {"thresholds": mix.thresholds + 1},
                    {"name": "other"}):
        other = replace(network, layers=(first, replace(mix, **changes), *others))
        assert other.digest() != network.digest()


def test_layer_without_a_lowering_is_refused_by_name():
    @dataclass(frozen=True, eq=False)
    class Unknown(toy_layer.Layer):
        name: str
        weights: np.ndarray
        kind, reads_map = "unknown", True
        in_channels, out_channels = 5, 6
        output, run = Pointwise.output, Pointwise.run

    network, _ = toy_layer.network()
    first, mix, *others = network.layers
    network = replace(network, layers=(first, Unknown("mix", mix.weights), *others))
    with pytest.raises(CompileError) as error:
        lower_network(network)
    assert str(error.value) == ("mix: layers of type Unknown have no lowering; register one with "
                                "bamac.compiler.lowering")


def test_lowering_that_hands_on_another_shape_is_refused():
    class Wrong(Pointwise):
        pass

    @lowering(Wrong)
    def _(layer, before):
        return Conv2d(layer.name, layer.weights[:, :, None, None], layer.thresholds, pool=(2, 2))

    network, _ = toy_layer.network()
    first, mix, *others = network.layers
    network = replace(network, layers=(
        first, Wrong(mix.name, mix.weights, mix.thresholds), *others))
    with pytest.raises(CompileError) as error:
        lower_network(network)
    assert str(error.value) == (
        "mix: its lowering must hand on TensorSpec(shape=(6, 9, 10), low=0, high=1), "
        "not TensorSpec(shape=(6, 4, 5), low=0, high=1)")


def test_lowering_that_does_not_end_is_refused():
    class Endless(Pointwise):
        pass

    @lowering(Endless)
    def _(layer, before):
        return Endless(layer.name, layer.weights, layer.thresholds)

    network, _ = toy_layer.network()
    first, mix, *others = network.layers
    network = replace(network, layers=(
        first, Endless(mix.name, mix.weights, mix.thresholds), *others))
    with pytest.raises(CompileError, match="^mix: lowering layers of type Endless does not end$"):
        lower_network(network)


def test_second_lowering_of_a_class_is_refused():
    with pytest.raises(ValueError, match="^Layers of type Pointwise have a lowering already$"):
        lowering(Pointwise)(lambda layer, before: layer)
