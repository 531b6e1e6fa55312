"""The registry of layer writers, and a type of layer that is registered from outside."""

from dataclasses import dataclass

import numpy as np
import pytest

from bamac.ir.network import Conv2d, Dense, GraphError
from bamac.qonnx import writers
from bamac.qonnx.graph_writer import GraphWriter, Tensor
from bamac.qonnx.writers import writer


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """A copy, so that no test leaves a writer behind."""
    monkeypatch.setattr(writers, "_WRITERS", dict(writers._WRITERS))


@dataclass
class Doubled:
    name: str


class OtherDense(Dense):
    pass


def write_doubled(file, layer, tensor):
    name = file.node("Add", [tensor.name, tensor.name], f"{layer.name}/outputs", tensor.shape)
    return Tensor(name, tensor.shape, 2 * tensor.magnitude)


def test_writer_from_outside_writes_its_layer():
    writer(Doubled)(write_doubled)
    file = GraphWriter()
    made = writers.write(file, Doubled("twice"), Tensor("vector", (1, 3), 5))
    assert made == Tensor("twice/outputs", (1, 3), 10)
    assert [(node.op_type, list(node.input)) for node in file.nodes] == [
        ("Add", ["vector", "vector"])]


@pytest.mark.parametrize("layer", [
    Doubled("twice"), OtherDense("twice", np.ones((1, 1), int), np.zeros(1, int))])
def test_layer_without_a_writer_is_refused(layer):
    with pytest.raises(GraphError) as error:
        writers.write(GraphWriter(), layer, Tensor("vector", (1, 1), 5))
    assert str(error.value) == (f"twice: layers of type {type(layer).__name__} cannot be written; "
                                "use Conv2d, Dense, or register a writer")


def test_type_is_registered_once():
    with pytest.raises(ValueError) as error:
        writer(Conv2d)(write_doubled)
    assert str(error.value) == ("Layer type 'Conv2d' must be registered once, not again: "
                                "bamac.qonnx.writers.write_conv writes it")


def test_type_must_be_a_class():
    with pytest.raises(TypeError) as error:
        writer("Conv2d")
    assert str(error.value) == "Layer type must be a class, not 'Conv2d'"


@pytest.mark.parametrize("layer, magnitude", [
    (Conv2d("c", np.ones((2, 1, 1, 1), int), np.zeros(2, int)), 1),
    (Conv2d("c", np.ones((2, 1, 1, 1), int), bias=np.zeros(2, int)), 255),
    (Conv2d("c", np.ones((2, 1, 1, 1), int), np.zeros(2, int), global_pool="max"), 1),
    # A sum of 4 x 5 bits takes 5 bits
    (Conv2d("c", np.ones((2, 1, 1, 1), int), np.zeros(2, int), global_pool="sum"), 31),
    (Conv2d("c", np.ones((2, 1, 1, 1), int), bias=np.zeros(2, int), global_pool="sum"), 255)])
def test_reach_of_a_map_is_handed_on(layer, magnitude):
    made = writers.write(GraphWriter(), layer, Tensor("x", (1, 1, 4, 5), 127))
    assert made.magnitude == magnitude
    assert made.shape == ((1, 2, 4, 5) if layer.global_pool is None else (1, 2))


@pytest.mark.parametrize("emit, magnitude", [("bit", 1), ("unsigned", 15), ("raw", 4 * 3 * 7 + 9)])
def test_reach_of_a_vector_is_handed_on(emit, magnitude):
    layer = Dense("d", np.full((2, 3), -4), np.array([9, -1]), emit, 4)
    made = writers.write(GraphWriter(), layer, Tensor("vector", (1, 3), 7))
    assert (made.shape, made.magnitude) == ((1, 2), magnitude)
