"""The accuracy table: every finished run below a folder, rows by configuration, seeds together.

A run is a folder that :func:`bamac.training.supervised.train` filled. Runs that differ in their
seed alone form a row; rows of another recipe of training clips than most name it. Correlations are
means over the seeds with their standard deviation; the interval is the 95 % bootstrap over test
clips of the mean over seeds.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mode

import numpy as np

from bamac.data.sources import recipe_of

from .metrics import pcc, rmse, srcc

__all__ = ["AccuracyError", "Row", "bootstrap", "collect", "memory_bytes", "row_title",
           "short_title", "streaming_bytes"]

RESAMPLES = 2000


class AccuracyError(ValueError):
    """A folder holds no finished runs, or runs on different test clips."""


@dataclass(frozen=True)
class Row:
    """All seeds of one configuration.

    Attributes
    ----------
    title : what differs from full precision, in words
    config : the configuration of the first seed, as ``TrainConfig.decides`` gives it
    folders : of the runs, in the order of their seeds
    scores : float64 (seeds, clips), labels : float64 (clips,)
    seconds : training time of each seed
    ones, unions : of the first seed, per convolution: share of ones in its input, and of 2x2 unions
    """

    title: str
    config: dict
    folders: tuple
    scores: np.ndarray
    labels: np.ndarray
    seconds: tuple
    ones: tuple = ()
    unions: tuple = ()

    def over_seeds(self, metric, rows=slice(None)):
        """``metric(scores, labels)`` of every seed, over some clips."""
        return np.array([metric(scores[rows], self.labels[rows]) for scores in self.scores])

    def summary(self, rows=slice(None)):
        """Mean and spread over seeds of PCC, SRCC, RMSE and mean error, over some clips."""
        values = {"clips": int(self.labels[rows].size), "seeds": len(self.scores)}
        for name, metric in (("pcc", pcc), ("srcc", srcc), ("rmse", rmse),
                             ("bias", _mean_error)):
            found = self.over_seeds(metric, rows)
            values[name] = float(found.mean())
            values[name + "_std"] = float(found.std(ddof=1)) if len(found) > 1 else None
        return values


def _mean_error(scores, labels):
    return float(np.mean(scores - labels))


def _from_twin(config):
    return bool(config.get("twin") or config.get("twin_epochs"))


def row_title(config):
    """A configuration in the words of the table: ``BAM + W8, 5-bit input``."""
    words = {"fp32": "fp32 (ReLU)", "w8": "W8 (ReLU)", "bam": "BAM", "bam-w8": "BAM + W8"}
    parts = [words[config["variant"]]]
    bits = set(config["weight_bits"])
    if len(bits) == 1:
        parts[0] = parts[0].replace("W8", f"W{bits.pop()}")
    elif bits:
        parts.append("weight bits " + "-".join(str(b) for b in config["weight_bits"]))
    if config["input_bits"] != 8:
        parts.append(f"{config['input_bits']}-bit input")
    if config["prune"]:
        parts.append(f"{config['prune']:.0%} of weights pruned".replace("%", " %"))
    if config.get("global_pool", "sum") != "sum":
        parts.append("global max")
    if config["batch"] != 16:
        parts.append(f"{config['batch']} clips per step")
    if config["union_penalty"]:
        parts.append(f"union penalty {config['union_penalty']:g}")
    if config.get("fine_union_penalty") is not None:
        parts.append(f"union penalty {config['fine_union_penalty']:g} in the second phase")
    if config["start_bias"] is not None:
        parts.append(f"start bias {config['start_bias']:g}")
    if _from_twin(config):
        parts.append("from its twin")
    if config.get("int8_first"):
        parts.append("int8 throughout")
    if config.get("cycles", 1) > 1:
        parts.append(f"{config['cycles']} cycles")
    return ", ".join(parts)


def short_title(title):
    """A title in fewer letters, for labels in plots."""
    for long, short in (("-bit input", "-bit"), ("clips per step", "per step"),
                        ("union penalty", "penalty"), ("start bias", "bias"),
                        ("of weights pruned", "pruned")):
        title = title.replace(long, short)
    return title


def _key(config):
    """What runs of one row share: everything but the seed and the runs they start from."""
    values = {k: v for k, v in config.items()
              if k not in ("seed", "start", "twin", "twin_epochs")}
    # Runs from before there was an option lack it
    return json.dumps({**values, "twin": _from_twin(config),
                       "int8_first": bool(config.get("int8_first")),
                       "cycles": config.get("cycles", 1)}, sort_keys=True)


def _configuration(path):
    """A run's configuration; one with a start as if it had done the first phase itself."""
    report = json.loads((path / "report.json").read_text(encoding="utf-8"))
    config, first = report["configuration"], report.get("first_phase")
    if not first:
        return config
    return {**config, "start": None,
            **{name: first[name] for name in ("epochs", "cycles", "twin", "twin_epochs",
                                         "int8_first")
               if name in first}}


def collect(folder):
    """All rows below ``folder``, full precision first, then by fewer bits.

    Raises
    ------
    AccuracyError
        If there is no finished run, or runs were tested on different clips.
    """
    groups = {}
    for path in sorted(Path(folder).glob("*/report.json")):
        config = _configuration(path.parent)
        groups.setdefault(_key(config), []).append((config["seed"], path.parent))
    if not groups:
        raise AccuracyError(f"{folder} must hold finished runs of `bamac train` in subfolders")
    rows = []
    for runs in groups.values():
        runs.sort()
        rows.append(_row([path for _, path in runs]))
    labels = rows[0].labels
    for row in rows:
        if row.labels.shape != labels.shape or (row.labels != labels).any():
            raise AccuracyError(f"{row.folders[0]} and {rows[0].folders[0]} were tested on "
                                f"different clips; compare runs on one data set")
    usual = mode(row.config["clips"] for row in rows)
    rows = [replace(row, title=f"{row.title}, {row.config['clips']:,} clips")
            if row.config["clips"] != usual else row for row in rows]
    usual = mode(recipe_of(row.config) for row in rows)
    rows = [replace(row, title=f"{row.title}, data recipe {recipe_of(row.config)}")
            if recipe_of(row.config) != usual else row for row in rows]
    titles = [row.title for row in rows]
    rows = [replace(row, title=f"{row.title}, {row.config['epochs']} + "
                               f"{row.config['fine_epochs']} epochs")
            if titles.count(row.title) > 1 else row for row in rows]
    order = ("fp32", "w8", "bam", "bam-w8")
    return sorted(rows, key=lambda r: (order.index(r.config["variant"]),
                                       r.config["weight_bits"] or [8],
                                       -r.config["input_bits"], r.config["prune"], r.title))


def _row(folders):
    config, scores, labels, seconds = None, [], None, []
    for path in folders:
        report = json.loads((path / "report.json").read_text(encoding="utf-8"))
        with np.load(path / "test.npz") as data:
            if labels is not None and (data["labels"] != labels).any():
                raise AccuracyError(f"{path} and {folders[0]} were tested on different clips")
            labels = data["labels"]
            scores.append(data["scores"])
        if config is None:
            config = _configuration(path)
            ones, unions = report["input_ones"], report["input_unions"]
        seconds.append(report["training_seconds"])
    return Row(row_title(config), config, tuple(folders), np.stack(scores), labels,
               tuple(seconds), tuple(ones), tuple(unions))


def bootstrap(row, resamples=RESAMPLES, seed=1, less=None):
    """95 % interval of the mean PCC over seeds, by resampling test clips: (low, high).

    With ``less``, a row of the same clips, that of the difference to its mean PCC.
    """
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(resamples):
        drawn = rng.integers(row.labels.size, size=row.labels.size)
        value = row.over_seeds(pcc, drawn).mean()
        found.append(value - less.over_seeds(pcc, drawn).mean() if less else value)
    return tuple(float(v) for v in np.percentile(found, (2.5, 97.5)))


def memory_bytes(config, net):
    """Bytes by the paper's count: ``{"weights", "maps", "fp32"}``.

    Every parameter at its bits (float 32, biases at the weight's 8) and every convolution's map
    before its pool, whole, at 32 bits or 1; the input is not counted. ``fp32`` is the sum for
    full precision. ``net`` is the :class:`bamac.nn.config.NetConfig`.
    """
    parameters, weight_bits, maps = 0, 0, 0
    rows, cols, channels = net.rows, net.cols, 1
    quantised = config["variant"].endswith("w8")
    for spec, bits in zip(net.convs, net.conv_bits, strict=True):
        top, bottom, left, right = spec.pads()
        weights = spec.out_channels * channels * spec.kernel[0] * spec.kernel[1]
        parameters += weights + spec.out_channels
        weight_bits += (weights * bits + spec.out_channels * 8) if quantised else 0
        maps += (spec.out_channels * (rows + top + bottom - spec.kernel[0] + 1)
                 * (cols + left + right - spec.kernel[1] + 1))
        rows, cols = spec.out_shape(rows, cols)
        channels = spec.out_channels
    for size in (*net.hidden, net.outputs):
        parameters += (channels + 1) * size
        weight_bits += (channels + 1) * size * 8 if quantised else 0
        channels = size
    if not quantised:
        weight_bits = 32 * parameters
    return {"weights": weight_bits // 8, "maps": -(-maps * (1 if net.binary else 32) // 8),
            "fp32": 4 * (parameters + maps)}


@functools.cache
def _ring_rows():
    """Rows that live at the input of each convolution of the paper's network."""
    from bamac.compiler import compile_network
    from bamac.ir.random_networks import paper_network
    from bamac_hw.geometry import Geometry

    program = compile_network(paper_network().network, Geometry.named("small"))
    return tuple(row["ring"]["rows"] for row in program.layers if row["kind"] == "conv")


def streaming_bytes(net):
    """Bytes of activations that live at once when rows stream through all layers.

    The rows of each convolution's input that the compiler's schedule keeps, at the bits of that
    map (the input at its own bits, 32 in float), and the vectors between dense layers at 16 bits.
    ``net`` is the :class:`bamac.nn.config.NetConfig` of the paper's shape.
    """
    quantised = net.binary and net.variant.endswith("w8")
    rows, cols, channels, total = net.rows, net.cols, 1, 0
    bits = net.input_bits if quantised else 32
    for spec, kept in zip(net.convs, _ring_rows(), strict=True):
        total += min(kept, rows) * cols * channels * bits
        rows, cols = spec.out_shape(rows, cols)
        channels, bits = spec.out_channels, 1 if net.binary else 32
    vectors = 16 if quantised else 32
    return -(-(total + vectors * (channels + sum(net.hidden))) // 8)
