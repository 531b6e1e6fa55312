"""The metadata of our own files."""

import json

import onnx
import pytest

from bamac.ir import random_networks
from bamac.ir.network import GraphError
from bamac.qonnx import exporter as qonnx_export
from bamac.qonnx import importer as qonnx_import
from bamac.qonnx import metadata


def model_with(change):
    """A model of ours whose metadata, a dict, ``change`` has been at."""
    model = qonnx_export.model(random_networks.random_case(2).network)
    values = json.loads(model.metadata_props[0].value)
    changed = change(values)
    onnx.helper.set_model_props(model, {
        metadata.KEY: json.dumps(values) if changed is None else changed})
    return model


def test_metadata_of_a_foreign_file_is_none():
    model = qonnx_export.model(random_networks.random_case(2).network)
    onnx.helper.set_model_props(model, {"author": "someone"})
    assert metadata.read(model) is None
    assert qonnx_import.from_model(model, "given").name == "given"


def test_metadata_is_read_as_written():
    network = random_networks.random_case(2).network
    found = metadata.read(qonnx_export.model(network))
    assert found.name == network.name
    assert [(entry.name, entry.kind) for entry in found.layers] == [
        *((layer.name, "conv") for layer in network.convs),
        *((layer.name, "dense") for layer in network.denses)]
    assert [entry.shifted for entry in found.layers if entry.kind == "dense"] == [
        (layer.bits, layer.shift) for layer in network.denses]
    assert (found.score_scale, found.score_offset) == (network.score_scale, network.score_offset)
    assert found.front_end == network.front_end


@pytest.mark.parametrize("change, message", [
    (lambda values: values.update(schema=2), "Metadata schema must be 1, not 2"),
    (lambda values: values.pop("name") and None, "Metadata 'bamac.network' is damaged: 'name'"),
    (lambda values: values.update(score_scale="much"),
     "Metadata 'bamac.network' is damaged: could not convert string to float: 'much'"),
    (lambda values: "{", "Metadata 'bamac.network' is damaged: Expecting property name enclosed in "
                         "double quotes: line 1 column 2 (char 1)")])
def test_damaged_metadata_is_refused(change, message):
    with pytest.raises(GraphError) as error:
        metadata.read(model_with(change))
    assert str(error.value) == message


def test_names_of_other_layers_are_not_taken():
    model = model_with(lambda values: values.update(layers=[{"name": "other"}]))
    network = random_networks.random_case(2).network
    assert [layer.name for layer in qonnx_import.from_model(model).layers] == [
        layer.name for layer in network.layers]
