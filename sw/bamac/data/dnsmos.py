"""DNSMOS P.808, Microsoft's network that predicts opinion scores: its scores and its weights.

The released ONNX file comes with the PyPI package ``speechmos`` (MIT licence). Only its file is
used: the package's code would import more than is needed, and never sets the number of threads.

DNSMOS scores are model outputs, not human opinions. On clean and degraded speech they stay within
about 2.0 and 4.3.
"""

from __future__ import annotations

import functools
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from bamac.frontends.dnsmos import CLIP_SAMPLES, FRAMES, MELS, SAMPLE_RATE, features_p808

__all__ = ["DnsmosError", "P808Teacher", "model_path", "released_weights", "segments"]

_SEGMENT = CLIP_SAMPLES + 160
"""DNSMOS cuts segments of 9.01 s and drops the last 10 ms of each before P.808."""


class DnsmosError(RuntimeError):
    """The released model cannot be found or is not the one this module knows."""


def model_path() -> Path:
    """Path of the released ``model_v8.onnx``.

    Raises
    ------
    DnsmosError
        If the package ``speechmos`` is not installed, or does not hold the file.
    """
    spec = find_spec("speechmos")  # finds the folder without running the package
    if spec is None or not spec.submodule_search_locations:
        raise DnsmosError("The released DNSMOS model comes with the package speechmos; install it "
                          "with 'pip install speechmos'")
    path = Path(spec.submodule_search_locations[0]) / "dnsmos_models" / "model_v8.onnx"
    if not path.is_file():
        raise DnsmosError(f"{path} does not exist; install speechmos 0.0.1.1 or newer")
    return path


def segments(samples: np.ndarray) -> np.ndarray:
    """The windows (n, 144000) that DNSMOS averages over, as ``speechmos`` cuts them.

    A short clip is doubled until it lasts 9.01 s; segments start every second.
    """
    samples = np.asarray(samples)
    if samples.ndim != 1 or samples.size == 0:
        raise ValueError(f"Samples must be a non-empty vector, not of shape {samples.shape}")
    while samples.size < _SEGMENT:
        samples = np.concatenate([samples, samples])
    count = int(samples.size // SAMPLE_RATE - _SEGMENT / SAMPLE_RATE) + 1
    starts = [i * SAMPLE_RATE for i in range(count) if i * SAMPLE_RATE + _SEGMENT <= samples.size]
    return np.stack([samples[start:start + CLIP_SAMPLES] for start in starts])


class P808Teacher:
    """The released DNSMOS P.808 network on one thread of onnxruntime."""

    def __init__(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(model_path()), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def score_features(self, batch: np.ndarray) -> np.ndarray | float:
        """Scores (n,) float64 of float features (n, 900, 120), or one score of (900, 120)."""
        batch = np.asarray(batch, np.float32)
        if batch.ndim not in (2, 3) or batch.shape[-2:] != (FRAMES, MELS):
            raise ValueError(f"Features must have shape (n, {FRAMES}, {MELS}), not {batch.shape}")
        if batch.ndim == 2:
            return float(self.score_features(batch[None])[0])
        scores = [self._session.run(None, {self._input: np.ascontiguousarray(part)})[0][:, 0]
                  for part in np.array_split(batch, max(1, -(-len(batch) // 16)))]
        return np.concatenate(scores).astype(np.float64)

    def score(self, samples: np.ndarray) -> float:
        """The score of samples at 16 kHz, equal to what ``speechmos`` calls ``p808_mos``."""
        windows = np.stack([features_p808(window) for window in segments(samples)])
        return float(self.score_features(windows).mean())


@functools.cache
def released_weights() -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Weights of the released network: ``{"convs": [(w, b), ...], "dense": [(w, b), ...]}``.

    Float32 arrays: convolutions (out, in, 3, 3), dense layers (out, in), in the order in which
    they are computed.

    Raises
    ------
    DnsmosError
        If the file is not a chain of five convolutions and three dense layers.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(model_path())).graph
    tensors = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    convs, dense = [], []
    for node in graph.node:
        if node.op_type == "Conv":
            convs.append((tensors[node.input[1]], tensors[node.input[2]]))
        elif node.op_type == "MatMul":
            dense.append([tensors[node.input[1]].T])
        elif node.op_type == "Add":
            dense[-1].append(tensors[node.input[1]])
    dense = [tuple(pair) for pair in dense]
    if len(convs) != 5 or len(dense) != 3 or any(len(pair) != 2 for pair in dense):
        raise DnsmosError(f"{model_path()} must hold 5 convolutions and 3 dense layers, "
                          f"not {len(convs)} and {len(dense)}")
    return {"convs": convs, "dense": dense}
