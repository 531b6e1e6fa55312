"""The model card of a training run: what it is, data, recipe, agreement, limits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bamac import tasks
from bamac.data import recipes
from bamac.data.sources import package_voices
from bamac.frontends.registry import with_bits
from bamac.tasks import Task
from bamac.training.config import DistilConfig, TrainConfig

if TYPE_CHECKING:
    from bamac.nn.config import NetConfig

__all__ = ["card_metrics", "distilled_card", "model_card"]

_VARIANTS = {"fp32": "with full-precision weights and ReLU: the twin that binary maps are "
                     "compared with. It has no integer form",
             "w8": "with int8 weights and ReLU in float. It has no integer form",
             "bam": "with binary activation maps and float weights",
             "bam-w8": "with binary activation maps and int8 weights"}


def _shape(net: NetConfig) -> str:
    """Convolutions and head of a network in words."""
    kernels = " and ".join(dict.fromkeys("x".join(map(str, conv.kernel)) for conv in net.convs))
    channels = [conv.out_channels for conv in net.convs]
    head = [channels[-1], *net.dense, net.outputs]
    return (f"{len(channels)} convolutions ({kernels}) of {'-'.join(map(str, channels))} "
            f"channels and a head of {'-'.join(map(str, head))}")


def _about_task(task: Task, bits: int) -> str:
    """What is predicted, from which input."""
    front_end = with_bits(task.front_end, bits)
    return (f"It predicts {task.title[0].lower()}{task.title[1:]}. Input: {front_end.rows} x "
            f"{front_end.cols} integers of {bits} bits of the front end `{front_end.kind}`.")


def _command(command: str, config: Mapping[str, Any], default: Mapping[str, Any]) -> str:
    """The command that trains it, without what is default."""
    words = [f"bamac {command}"]
    for name, value in config.items():
        if name in ("network", "bfloat16", "bf16") or value == default.get(name):
            continue
        words.append("--" + name.replace("_", "-").replace("speech-folder", "data"))
        if value is not True:
            words.append(",".join(map(str, value)) if isinstance(value, list) else f"{value}")
    return " ".join(words)


def _metrics(report: Mapping[str, Any]) -> list[str]:
    lines = ["| clips | n | PCC | SRCC | RMSE | label std |", "|---|---|---|---|---|---|"]
    rows = [("**test, all**", report["test"]["all"])]
    for group in ("novelty", "language", "family", "degradation"):
        rows += [(f"test: {name}", row) for name, row in report["test"].get(group, {}).items()]
    rows.append(("validation", report["val"]["all"]))
    for name, row in rows:
        pcc, srcc = ("–" if row[k] is None else f"{row[k]:.3f}" for k in ("pcc", "srcc"))
        lines.append(f"| {name} | {row['clips']} | {pcc} | {srcc} | {row['rmse']:.3f} | "
                     f"{row['label_std']:.3f} |")
    return lines


def _licences(recipe: int) -> str:
    """The packages that a recipe's speech comes from, by licence."""
    packages = {}
    for voice in package_voices(recipes.get(recipe).recordings):
        packages.setdefault(voice.licence, {})[voice.package] = None
    return "; ".join(f"{licence}: {', '.join(names)}" for licence, names in packages.items())


def _speech(config: Mapping[str, Any]) -> str:
    """Where the speech comes from, and its licences."""
    recipe = recipes.number_of(config)
    source = (f"Speech of the folder `{config['speech_folder']}`, under its own licence"
              if config.get("speech_folder") else
              f"Recorded speech from Debian packages ({_licences(recipe)}), mastered")
    return (f"{source}; degraded by noise, codecs, clipping, band limits, packet loss, rooms and "
            f"noise suppression (data recipe {recipe}, seed {config['data_seed']}). The data set "
            f"is not shipped; `bamac data --data-recipe {recipe}` makes it again.")


_GROUPS = ("Test clips have talkers, languages, noises, music and rooms that are not in the "
           "training data; *unseen damage* has families or codecs that training never has. A "
           "clip counts under every degradation it has.")


def _shares(values: Sequence[float]) -> str:
    return ", ".join(f"{d:.1%}".replace("%", " %") for d in values)


def _twin(config: Mapping[str, Any]) -> str:
    if config.get("twin_epochs"):
        return ("Its maps started as a layer-wise fit of a full-precision network, trained for "
                f"{config['twin_epochs']} epochs before. ")
    return (f"Its maps started as a layer-wise fit of a full-precision run (`{config['twin']}`). "
            if config.get("twin") else "")


def model_card(name: str, report: Mapping[str, Any]) -> str:
    """Markdown text of a supervised run; ``report`` is that of its ``TrainingResult``."""
    config = report["configuration"]
    binary = config["variant"].startswith("bam")
    pool = "popcount" if binary else "mean"
    task = tasks.of_metadata(config)
    network = f"{task.shape_title}: {_shape(task.net_config(config['variant']))},"
    lines = [f"# Model card: {name}", "",
             f"{network} {_VARIANTS[config['variant']]}. "
             f"{_about_task(task, config['input_bits'])} Global pool: {pool} per channel.", "",
             "## Recipe", "", f"    {_command('train', config, TrainConfig().decides())}", "",
             f"Seed {config['seed']}, {report['epochs']} epochs on {config['clips']:,} clips "
             f"({report['training_seconds'] / 60:.0f} min), epoch "
             f"{report['epoch']} kept for its validation PCC. {_twin(config)}Crops, whole clips, "
             "int8 weights: docs/training.md.", "",
             "## Data and licences", "",
             f"{_speech(config)} {task.about_label} Training talkers: "
             f"{', '.join(report['voices'])}.", "",
             f"## Agreement with {task.label.title}", "", _GROUPS, "", *_metrics(report), "",
             f"Share of values above 0 after each convolution: {_shares(report['density'])}.", "",
             "## Limits", "",
             "One seed. Nearly all the speech is read prompts and single words of few talkers. "
             "The figures are agreement on this data; do not compare them with figures from other "
             "data sets."]
    return "\n".join(lines) + "\n"


def _origin(start: str | None) -> str:
    return f"the network of another run (`{start}`)" if start else (
        "a layer-wise fit of the released weights")


def _levels(levels: int, thresholds: Sequence[int]) -> str:
    text = "" if levels == 1 else (
        f", and {64 * levels} channels in place of the last 64: {levels} thresholds per kernel at "
        f"the start, since a popcount of one says little of the maximum that the released network "
        f"takes")
    if max(thresholds) > 1:
        channels = "-".join(str(32 * count) for count in thresholds)
        text += (f", and {channels} in place of the others: "
                 f"{', '.join(map(str, thresholds))} thresholds per kernel, which say how large a "
                 f"value is")
    return text


def _units(caps: Sequence[float], levels: int) -> str:
    return "" if not caps else (
        f", and {64 * levels * len(caps)} units in front of its head: {len(caps)} per last "
        f"channel, which stop at {' and '.join(f'{cap:g}' for cap in caps)} times its mean "
        f"popcount (at 4 to 510)")


def distilled_card(name: str, report: Mapping[str, Any]) -> str:
    """Markdown text of a distillation; ``report`` is that of its ``TrainingResult``."""
    task = tasks.P808_TASK
    config = {**report["data"], **report["configuration"]}
    default = {**DistilConfig().decides(), "clips": None, "data_seed": 1, "speech_folder": None,
               "data_recipe": recipes.DEFAULT.number}
    phases = [f"{config[f'{phase}_epochs']} on {what}" for phase, what in (
        ("crop", f"crops of {config['crop'] / 100:g} s"),
        ("whole", "crops of 5 s, which hold all of a clip"),
        ("int8", "whole windows with int8 weights")) if config[f"{phase}_epochs"]]
    lines = [f"# Model card: {name}", "",
             f"{task.shape_title}: {_shape(task.net_config())}, with binary activation maps and "
             "int8 weights, global popcount pooling"
             f"{_levels(config['levels'], config['thresholds'])}"
             f"{_units(config['count_caps'], config['levels'])}. "
             f"{_about_task(task, task.front_end.bits)} Shorter clips are repeated.",
             "",
             "## Recipe", "", f"    {_command('distil', config, default)}", "",
             f"Seed {config['seed']}; started from {_origin(config.get('start'))}. "
             f"Epochs: {', then '.join(phases)}, on {report['clips']:,} clips "
             f"({report['training_seconds'] / 60:.0f} min); the last one's network. The released "
             f"network is asked anew for every crop and every change. docs/training.md says more.",
             "",
             "## Data and licences", "",
             f"{_speech(config)} {task.about_label} Training talkers: "
             f"{', '.join(report['voices'])}.", "",
             f"## Agreement with {task.label.title}", "", _GROUPS, "", *_metrics(report), "",
             f"Activation density of each map: {_shares(report['density'])}.", "",
             "## Limits", "",
             "One seed. The figures are agreement on speech and damage of this kind."]
    return "\n".join(lines) + "\n"


def card_metrics(text: str) -> tuple[str, list[list[str]]]:
    """``(heading, rows)`` of a card's table: what is agreed with, and the rows as texts.

    Each row has the clips' name, their number, PCC, SRCC, RMSE and the labels' deviation.

    Raises
    ------
    ValueError
        If there is no such table.
    """
    heading, rows = None, []
    for line in text.splitlines():
        if line.startswith("## Agreement with "):
            heading = line.removeprefix("## Agreement with ")
        elif heading and line.startswith("| ") and re.match(r"\| [^|]+ \| *\d+ \|", line):
            rows.append([cell.strip(" *") for cell in line.strip("| ").split("|")])
    if not rows:
        raise ValueError("Card must have a table of agreement, as bamac train writes it")
    return heading, rows
