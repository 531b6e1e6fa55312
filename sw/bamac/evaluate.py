"""How well a model's scores agree with the labels of held-out clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bamac.metrics import agreement

__all__ = ["LEVELS", "evaluate_clip", "evaluate_dataset", "evaluate_features", "scores_at"]

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
        from bamac import reference

        return np.array([reference.run(network, frames).outputs[0] for frames in features])
    import tempfile

    from bamac import qonnx_export, qonnx_oracle

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        qonnx_export.export(network, path)
        return np.array([qonnx_oracle.run(network, path, frames).raw[0] for frames in features])


def scores_at(level, network, metadata, features, array="small"):
    """Scores (n,) of int8 features (n, rows, cols) at one level of the chain.

    ``array`` is the preset or geometry file of the level ``rtl``.
    """
    if level not in LEVELS:
        raise ValueError(f"Level must be one of {', '.join(LEVELS)}, not {level!r}")
    if level in ("integer", "qonnx", "rtl"):
        from bamac.integerise import integerise

        integer = integerise(network, metadata)
        raw = _raw_outputs(level, integer, features, array)
        return raw * integer.score_scale + integer.score_offset
    from bamac.train import predict

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

    from bamac.checkpoint import restore_network

    twin = restore_network({"config": network.config.as_dict(), "state": network.state_dict(),
                            "int8": False, "norm_frozen": network.norm_frozen})
    # The int8 head counts in integers from the pool on; the float head in pool_scale units.
    return twin.eval().to(memory_format=torch.channels_last)


def evaluate_features(network, features, labels, manifest, level=None, metadata=None,
                      array="small"):
    """PCC, SRCC and RMSE over all clips, per family of voices, per voice and per degradation."""
    if level is None:
        level = "qat" if network.int8 else "float"
    scores = scores_at(level, network, metadata or {}, features, array)
    result = {"level": level, "all": agreement(scores, labels)}
    groups = {"family": [e["family"] for e in manifest],
              "voice": [e["voice"] for e in manifest],
              "degradation": ["+".join(s["kind"] for s in e["degradations"])
                              if len(e["degradations"]) == 1 else
                              ("none" if not e["degradations"] else "several")
                              for e in manifest]}
    for title, names in groups.items():
        names = np.array(names)
        rows = {}
        for name in sorted(set(names.tolist())):
            chosen = names == name
            if chosen.sum() >= 10:
                rows[name] = agreement(scores[chosen], labels[chosen])
        result[title] = rows
    return result


def evaluate_dataset(model_path, level="qat", data_dir=None, split="test", clips=None,
                     array="small"):
    """Evaluate a checkpoint on a split of a data set that ``bamac train`` built.

    ``data_dir`` is the folder that :func:`bamac.data.build.build` returns; None stands for the
    default cache with the clips and the seed that the checkpoint was trained with. ``clips``
    limits the number of clips (the first ones).
    """
    from bamac.checkpoint import load_network
    from bamac.data import build as data_build

    network, metadata = load_network(model_path)
    if data_dir is None:
        training = metadata["training"]
        data_dir = data_build.set_folder(data_build.DEFAULT_CACHE, training["seed"],
                                         training["speech_folder"])
        clips = clips or data_build.split_sizes(training["clips"])[split]
    features, labels, manifest = data_build.load_split(Path(data_dir), split, clips)
    result = evaluate_features(network, features, labels, manifest, level, metadata, array)
    return {"model": str(model_path), "split": split, **result}


def evaluate_clip(model_path, clip, level="qat", array="small", warn=None):
    """Scores of an audio file at one level: each window's, and their mean."""
    from bamac.checkpoint import load_network
    from bamac.integerise import integerise
    from bamac.pipeline import frames_of_clip

    network, metadata = load_network(model_path)
    integer = integerise(network, metadata)
    frames, _ = frames_of_clip(integer.input, integer.name, integer.front_end, clip, warn)
    scores = scores_at(level, network, metadata, frames, array)
    return {"model": str(model_path), "clip": str(clip), "level": level,
            "score": float(np.mean(scores)), "scores": [float(score) for score in scores]}
