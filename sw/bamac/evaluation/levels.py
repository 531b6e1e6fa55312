"""How well a model's scores agree with the labels of held-out clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bamac.frontends.log_mel import as_eight_bits, fewer_bits

from .agreement import evaluate_scores

__all__ = ["LEVELS", "evaluate_clip", "evaluate_dataset", "scores_at"]

LEVELS = ("float", "qat", "integer", "qonnx", "rtl")
"""``float``: fp32 arithmetic and float weights; ``qat``: the fake-quantised PyTorch network in
evaluation mode; ``integer``: the integer network that the compiler maps; ``qonnx``: its export, run
by the ``qonnx`` package's own executor; ``rtl``: the simulated hardware."""


def _raw_outputs(level, network, features, array):
    """Raw integer score (n,) of features (n, rows, cols) from one of the integer levels."""
    if level == "rtl":
        from bamac.compiler import compile_network
        from bamac_hw.geometry import Geometry
        from bamac_sim.simulate import simulate

        program = compile_network(network, Geometry.named(array))
        return simulate(program, features, trace=False).outputs[:, 0]
    if level == "integer":
        from bamac.ir import reference

        return np.array([reference.run(network, frames).outputs[0] for frames in features])
    import tempfile

    from bamac.qonnx import exporter as qonnx_export
    from bamac.qonnx import oracle as qonnx_oracle

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        qonnx_export.export(network, path)
        return np.array([qonnx_oracle.run(network, path, frames).raw[0] for frames in features])


def scores_at(level, network, metadata, features, array="small"):
    """Scores (n,) of int8 features (n, rows, cols) at one level of the chain.

    Networks with fewer input bits read the features rounded, as their front end gives them.

    ``array`` is the preset or geometry file of the level ``rtl``.
    """
    if level not in LEVELS:
        raise ValueError(f"Level must be one of {', '.join(LEVELS)}, not {level!r}")
    if level in ("integer", "qonnx", "rtl"):
        from bamac.pipeline import integer_network

        integer = integer_network(network, metadata)
        raw = _raw_outputs(level, integer, fewer_bits(features, integer.input.bits), array)
        return raw * integer.score_scale + integer.score_offset
    from bamac.nn.predict import predict

    if level == "qat":
        if not network.int8:
            raise ValueError("Model must have int8 weights for the level qat, not float weights")
        return predict(network, features)
    return predict(_with_float_weights(network), features)


def _with_float_weights(network):
    """The same network without weight quantisation, its activations still binary."""
    if not network.int8:
        return network
    import torch

    from bamac.nn.checkpoint import restore_network

    twin = restore_network({"config": network.config.as_dict(), "state": network.state_dict(),
                            "int8": False, "norm_frozen": network.norm_frozen})
    # The int8 head counts in integers from the pool on; the float head in pool_scale units.
    return twin.eval().to(memory_format=torch.channels_last)


def evaluate_dataset(model_path, level="qat", data_dir=None, split="test", clips=None,
                     array="small"):
    """Evaluate a checkpoint on a split of a data set that ``bamac train`` built.

    ``data_dir`` is the folder that :func:`bamac.data.build.build` returns; None stands for the
    default cache with the clips and the seed that the checkpoint was trained with. ``clips``
    limits the number of clips (the first ones).
    """
    from bamac.data import build as data_build
    from bamac.data.sources import recipe_of
    from bamac.nn.checkpoint import load_network

    network, metadata = load_network(model_path)
    training = metadata["training"]
    if data_dir is None:
        # Runs before data recipe 2 had one seed for both.
        seed = training.get("data_seed", training["seed"])
        data_dir = data_build.set_folder(data_build.DEFAULT_CACHE, seed,
                                         training["speech_folder"],
                                         recipe_of(training))
        clips = clips or data_build.split_sizes(training["clips"])[split]
    label = "p808" if metadata.get("network") == "p808" else "pesq"
    features, labels, manifest = data_build.load_split(Path(data_dir), split, clips, label)
    scores = scores_at(level, network, metadata, features, array)
    result = evaluate_scores(scores, labels, manifest, level)
    return {"model": str(model_path), "split": split, "label": label, **result}


def evaluate_clip(model_path, clip, level="qat", array="small", warn=None):
    """Scores of an audio file at one level: each window's, and their mean."""
    from bamac.nn.checkpoint import load_network
    from bamac.pipeline import frames_of_clip, integer_network

    network, metadata = load_network(model_path)
    integer = integer_network(network, metadata)
    frames, _ = frames_of_clip(integer.input, integer.name, integer.front_end, clip, warn)
    frames = as_eight_bits(frames, integer.input.bits)
    scores = scores_at(level, network, metadata, frames, array)
    return {"model": str(model_path), "clip": str(clip), "level": level,
            "score": float(np.mean(scores)), "scores": [float(score) for score in scores]}
