"""The rows of the accuracy table: finished runs by configuration, all seeds of one in a row.

Runs that differ only in their seed form a row. A row names its recipe of training clips if most
rows have another one. Correlations are means over the seeds with their standard deviation. The
interval is the 95 % bootstrap over test clips of that mean.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field, replace
from statistics import mode

import numpy as np

from bamac.data.recipes import number_of
from bamac.ir.bounds import conv_shape, memory_count

from .metrics import pcc, rmse, srcc
from .runs import AccuracyError, read_runs

__all__ = ["AccuracyError", "Row", "bootstrap", "collect", "memory_bytes", "network_of",
           "row_title", "rows_of", "short_title", "streaming_bytes"]

RESAMPLES = 2000


@dataclass(frozen=True)
class Row:
    """All seeds of one configuration.

    Attributes
    ----------
    title : what differs from full precision, in words
    config : the configuration of the first seed, as ``TrainConfig.decides`` gives it
    names : of the runs, in the order of their seeds
    scores : float64 (seeds, clips), labels : float64 (clips,)
    seconds : training time of each seed
    densities, tile_densities : of the first seed, per convolution: activation density of its
        input, and of 2x2 tiles of it
    groups : ``{title: {name: {"clips", "pcc", "rmse", "label_std"}}}`` of groups of test clips, as
        :func:`bamac.evaluation.levels.clip_groups` names them; means over the seeds, "pcc" None
        where it is undefined
    """

    title: str
    config: dict
    names: tuple
    scores: np.ndarray
    labels: np.ndarray
    seconds: tuple
    densities: tuple = ()
    tile_densities: tuple = ()
    groups: dict = field(default_factory=dict)

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
    # Older reports lack the newer options
    return json.dumps({**values, "twin": _from_twin(config),
                       "int8_first": bool(config.get("int8_first")),
                       "cycles": config.get("cycles", 1)}, sort_keys=True)


def _configuration(report):
    """A run's configuration; one with a start as if it had done the first phase itself."""
    config, first = report["configuration"], report.get("first_phase")
    if not first:
        return config
    return {**config, "start": None,
            **{name: first[name] for name in ("epochs", "cycles", "twin", "twin_epochs",
                                         "int8_first")
               if name in first}}


def collect(path, sets=()):
    """:func:`rows_of` the runs that :func:`bamac.evaluation.runs.read_runs` finds."""
    return rows_of(read_runs(path, sets).runs)


def rows_of(runs):
    """All rows of these runs, full precision first, then by fewer bits.

    Runs of ``bamac distil`` are left out.

    Raises
    ------
    AccuracyError
        If runs were tested on different clips, or their scores are not there.
    """
    groups = {}
    for run in runs:
        if run.supervised:
            config = _configuration(run.report)
            groups.setdefault(_key(config), []).append(run)
    if not groups:
        raise AccuracyError("Table must have at least one finished run of `bamac train`")
    rows = [_row(sorted(found, key=lambda run: (run.report["configuration"]["seed"], run.name)))
            for found in groups.values()]
    labels = rows[0].labels
    for row in rows:
        if row.labels.shape != labels.shape or (row.labels != labels).any():
            raise AccuracyError(f"{row.names[0]} and {rows[0].names[0]} were tested on "
                                f"different clips; compare runs on one data set")
    usual = mode(row.config["clips"] for row in rows)
    rows = [replace(row, title=f"{row.title}, {row.config['clips']:,} clips")
            if row.config["clips"] != usual else row for row in rows]
    usual = mode(number_of(row.config) for row in rows)
    rows = [replace(row, title=f"{row.title}, data recipe {number_of(row.config)}")
            if number_of(row.config) != usual else row for row in rows]
    titles = [row.title for row in rows]
    rows = [replace(row, title=f"{row.title}, {row.config['epochs']} + "
                               f"{row.config['fine_epochs']} epochs")
            if titles.count(row.title) > 1 else row for row in rows]
    order = ("fp32", "w8", "bam", "bam-w8")
    return sorted(rows, key=lambda r: (order.index(r.config["variant"]),
                                       r.config["weight_bits"] or [8],
                                       -r.config["input_bits"], r.config["prune"], r.title))


def _row(runs):
    first = runs[0]
    for run in runs:
        if run.scores is None:
            raise AccuracyError(f"{run.name} must hold scores of the test clips in test.npz")
        if run.labels.shape != first.labels.shape or (run.labels != first.labels).any():
            raise AccuracyError(f"{run.name} and {first.name} were tested on different clips")
    config = _configuration(first.report)
    return Row(row_title(config), config, tuple(run.name for run in runs),
               np.stack([run.scores for run in runs]), first.labels,
               tuple(run.report["training_seconds"] for run in runs),
               tuple(first.report["input_ones"]), tuple(first.report["input_unions"]),
               _mean_groups([run.report.get("test", {}) for run in runs]))


def _mean_groups(tests):
    """Means over the seeds of what their reports say of each group of test clips."""
    groups = {}
    for title, found in tests[0].items():
        if title not in ("level", "all"):
            groups[title] = {name: _mean_figures([test[title][name] for test in tests])
                             for name in found}
    return groups


def _mean_figures(seeds):
    means = {name: seeds[0][name] for name in ("clips", "label_std")}
    for name in ("pcc", "rmse"):
        values = [seed[name] for seed in seeds]
        means[name] = None if None in values else float(np.mean(values))
    return means


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


def network_of(config):
    """The :class:`bamac.nn.config.NetConfig` of a run's configuration."""
    from bamac.nn.config import make_config

    changes = {name: config[name] for name in ("global_pool", "beta", "input_bits")
               if name in config}
    if config["start_bias"] is not None:
        changes["start_bias"] = config["start_bias"]
    return make_config(config["network"], config["variant"],
                       weight_bits=tuple(config["weight_bits"]), **changes)


def memory_bytes(config, net):
    """Bytes by the paper's count: ``{"weights", "maps", "fp32"}``.

    Parameters count at their bits: 32 in float, the weight's own otherwise, 8 for a bias. Every
    convolution's map counts whole and before its pool, at 32 bits or 1. The input does not count.
    ``fp32`` is the sum for full precision. ``net`` is the :class:`bamac.nn.config.NetConfig`.
    """
    parameters, weight_bits, maps = 0, 0, 0
    rows, cols, channels = net.rows, net.cols, 1
    quantised = config["variant"].endswith("w8")
    for spec, bits in zip(net.convs, net.conv_bits, strict=True):
        weights = spec.out_channels * channels * spec.kernel[0] * spec.kernel[1]
        parameters += weights + spec.out_channels
        weight_bits += (weights * bits + spec.out_channels * 8) if quantised else 0
        map_rows, map_cols = conv_shape(rows, cols, spec.kernel, spec.stride, spec.pads())
        maps += spec.out_channels * map_rows * map_cols
        rows, cols = spec.out_shape(rows, cols)
        channels = spec.out_channels
    for size in (*net.hidden, net.outputs):
        parameters += (channels + 1) * size
        weight_bits += (channels + 1) * size * 8 if quantised else 0
        channels = size
    if not quantised:
        weight_bits = 32 * parameters
    return {"weights": weight_bits // 8, "maps": -(-maps * (1 if net.binary else 32) // 8),
            "fp32": memory_count(parameters, maps)["fp32"]}


@functools.cache
def _ring_rows():
    """Rows of its input that each convolution of the paper's network keeps at a time."""
    from bamac.compiler import compile_network
    from bamac.ir.random_networks import paper_network
    from bamac_hw.geometry import Geometry

    program = compile_network(paper_network().network, Geometry.named("small"))
    return tuple(row["ring"]["rows"] for row in program.layers if row["kind"] == "conv")


def streaming_bytes(net):
    """Bytes of activations that are stored at a time when rows stream through all layers.

    The compiler's schedule decides how many rows of each convolution's input are kept. They count
    at the bits of that map (the network's input at its own bits, 32 in float). The vectors between
    dense layers count at 16 bits, or 32 in float.
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
