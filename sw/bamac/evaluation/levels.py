"""How well a model's scores agree with the labels of held-out clips."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bamac.frontends.log_mel import as_eight_bits, fewer_bits

from .agreement import evaluate_scores

if TYPE_CHECKING:
    from bamac.nn.network import Network

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


def scores_at(level: str, network: Network, metadata: Mapping[str, Any], features: np.ndarray,
              array: str = "small") -> np.ndarray:
    """Scores (n,) float64 of int8 features (n, rows, cols) at one level of the chain.

    Parameters
    ----------
    level : one of :data:`LEVELS`
    network, metadata : of :func:`bamac.nn.checkpoint.load_network`
    features : 8-bit integers; networks with fewer input bits read them rounded, as their front
        end gives them
    array : preset or geometry file of the level ``rtl``

    Raises
    ------
    ValueError
        If there is no such level, or the network has no int8 weights for it.
    """
    if level not in LEVELS:
        raise ValueError(f"Level must be one of {', '.join(LEVELS)}, not {level!r}")
    if level in ("integer", "qonnx", "rtl"):
        from bamac.load import integer_network

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


def evaluate_dataset(model_path: str | Path, level: str = "qat",
                     data_dir: str | Path | None = None, split: str = "test",
                     clips: int | None = None, array: str = "small") -> dict[str, Any]:
    """Evaluate a checkpoint on a split of the data set of its task.

    Parameters
    ----------
    model_path : checkpoint, or the name of a network that ships with the package
    level : one of :data:`LEVELS`
    data_dir : folder of a data set; None for the one that the checkpoint was trained with, and
        then as many clips as belong to it
    split : ``"train"``, ``"val"`` or ``"test"``
    clips : how many, the first ones; None for all
    array : preset or geometry file of the level ``rtl``

    Returns
    -------
    ``model``, ``split``, ``label`` (its key), ``level``, ``all`` (the agreement over all clips),
    and for each kind of group, such as ``language``, the agreement by name.
    """
    from bamac import tasks
    from bamac.nn.checkpoint import load_network

    network, metadata = load_network(model_path)
    task = tasks.of_metadata(metadata)
    if data_dir is None:
        training = metadata["training"]
        data_dir = task.data.folder(training)
        clips = clips or task.data.sizes(training["clips"])[split]
    features, labels, manifest = task.data.load(data_dir, split, clips)
    scores = scores_at(level, network, metadata, features, array)
    result = evaluate_scores(scores, labels, manifest, level, task.metrics)
    return {"model": str(model_path), "split": split, "label": task.label.key, **result}


def evaluate_clip(model_path: str | Path, clip: str | Path, level: str = "qat",
                  array: str = "small", warn: Callable[[str], None] | None = None
                  ) -> dict[str, Any]:
    """Scores of an audio file at one level: each window's, and their mean.

    ``warn`` is called with a sentence if samples beyond full scale were clamped.
    """
    from bamac.load import frames_of_clip, integer_network
    from bamac.nn.checkpoint import load_network

    network, metadata = load_network(model_path)
    integer = integer_network(network, metadata)
    frames, _ = frames_of_clip(integer.input, integer.name, integer.front_end, clip, warn)
    frames = as_eight_bits(frames, integer.input.bits)
    scores = scores_at(level, network, metadata, frames, array)
    return {"model": str(model_path), "clip": str(clip), "level": level,
            "score": float(np.mean(scores)), "scores": [float(score) for score in scores]}
