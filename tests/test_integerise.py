"""What was trained is what is exported: the shipped network at three levels, on real clips."""

from pathlib import Path

import numpy as np
import pytest
import torch

import bamac
from bamac.evaluation.levels import evaluate_clip
from bamac.frontends.audio import load_audio, windows
from bamac.frontends.log_mel import features_int8, fewer_bits
from bamac.ir import reference
from bamac.nn.checkpoint import load_network
from bamac.nn.lowering import integerise
from bamac.qonnx import importer as qonnx_import
from bamac.qonnx import oracle as qonnx_oracle

ASSETS = Path(bamac.__file__).parent / "assets"
CLIPS = sorted((ASSETS / "clips").glob("*.wav"))


@pytest.fixture(scope="module")
def levels():
    module, metadata = load_network(ASSETS / "models" / "paper-bam-w8.pt")
    return module.eval(), integerise(module, metadata)


def test_shipped_export_is_of_the_shipped_checkpoint(levels):
    exported = qonnx_import.load(ASSETS / "models" / "paper-bam-w8.onnx")
    assert exported.digest() == levels[1].digest()


@pytest.mark.parametrize("clip", CLIPS, ids=lambda path: path.stem)
def test_every_level_computes_the_same(levels, clip):
    module, network = levels
    frames = fewer_bits(features_int8(windows(load_audio(clip))[0]), network.input.bits)
    with torch.no_grad():
        x = torch.from_numpy(frames[None, None].astype(np.float32))
        maps = [m[0].numpy() for m in module.maps(x)]
        raw = module.raw(x)[0]
    expected = reference.run(network, frames)
    assert len(maps) == len(network.convs) == 4
    for conv, actual in zip(network.convs, maps, strict=True):
        np.testing.assert_array_equal(actual, expected.layers[conv.name].pooled, conv.name)
    assert int(raw) == int(expected.outputs[0])

    oracle = qonnx_oracle.run(network, ASSETS / "models" / "paper-bam-w8.onnx", frames)
    for conv in network.convs:
        np.testing.assert_array_equal(oracle.bits[conv.name], expected.layers[conv.name].bits)
    for dense in network.denses:
        np.testing.assert_array_equal(oracle.outputs[dense.name],
                                      expected.layers[dense.name].outputs)


def test_clips_were_found():
    assert len(CLIPS) >= 3


@pytest.mark.parametrize("level", ["qat", "qonnx"])
def test_evaluation_of_a_clip_is_the_same_at_every_exact_level(level):
    model = ASSETS / "models" / "paper-bam-w8.pt"
    expected = evaluate_clip(model, CLIPS[0], "integer")
    assert evaluate_clip(model, CLIPS[0], level)["scores"] == expected["scores"]


def test_a_clip_scores_the_same_by_evaluation_and_by_its_frames():
    """Evaluation reads 8-bit features; the network's own frames have fewer bits."""
    network = qonnx_import.load(ASSETS / "models" / "paper-bam-w8.onnx")
    frames = fewer_bits(features_int8(windows(load_audio(CLIPS[0]))[0]), network.input.bits)
    expected = reference.run(network, frames).scores[0]
    model = ASSETS / "models" / "paper-bam-w8.pt"
    assert evaluate_clip(model, CLIPS[0], "integer")["score"] == pytest.approx(expected, abs=1e-9)
