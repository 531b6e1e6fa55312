"""The model card of a training run: what it is, data, recipe, agreement, limits."""

from __future__ import annotations

__all__ = ["model_card"]

_SHAPES = {"paper": "The paper's network (arXiv:2407.04578: four 3x3 convolutions, 32-32-32-64 "
                    "channels, and a head 64-64-64-1)"}
_VARIANTS = {"fp32": "with full-precision weights and ReLU: the twin that binary maps are "
                     "compared with. It has no integer form",
             "w8": "with int8 weights and ReLU in float. It has no integer form",
             "bam": "with binary activation maps and float weights",
             "bam-w8": "with binary activation maps and int8 weights"}


def _command(config):
    """The command that trains it, without what is default."""
    from bamac.train import TrainConfig

    default, words = TrainConfig().decides(), ["bamac train"]
    for name, value in config.items():
        if value != default[name] and name not in ("network", "bfloat16"):
            option = name.replace("_", "-").replace("speech-folder", "data")
            text = ",".join(map(str, value)) if isinstance(value, list) else f"{value}"
            words.append(f"--{option} {text}")
    return " ".join(words)


def _metrics(report):
    lines = ["| clips | n | PCC | SRCC | RMSE | label std |", "|---|---|---|---|---|---|"]
    rows = [("**test, all**", report["test"]["all"])]
    for group in ("novelty", "language", "family", "degradation"):
        rows += [(f"test: {name}", row) for name, row in report["test"][group].items()]
    rows.append(("validation", report["val"]["all"]))
    for name, row in rows:
        pcc, srcc = ("–" if row[k] is None else f"{row[k]:.3f}" for k in ("pcc", "srcc"))
        lines.append(f"| {name} | {row['clips']} | {pcc} | {srcc} | {row['rmse']:.3f} | "
                     f"{row['label_std']:.3f} |")
    return lines


def model_card(name, report, recipe):
    """Markdown text; ``report`` as :func:`bamac.train.train` returns it."""
    config = report["configuration"]
    binary = config["variant"].startswith("bam")
    pool = "max" if config["global_pool"] == "max" else "ones per channel" if binary else "mean"
    ones = ", ".join(f"{d:.1%}".replace("%", " %") for d in report["density"])
    network = _SHAPES[config["network"]]
    lines = [f"# Model card: {name}", "",
             f"{network} {_VARIANTS[config['variant']]}. It predicts the wide-band PESQ (ITU-T "
             f"P.862.2) of a clip of 5 s from 249 x 120 log-mel integers of "
             f"{config['input_bits']} bits. Global pool: {pool}.", "",
             "## Recipe", "", f"    {_command(config)}", "",
             f"Seed {config['seed']}, {report['epochs']} epochs on {config['clips']:,} clips "
             f"({report['training_seconds'] / 60:.0f} min on one core of a shared machine), epoch "
             f"{report['epoch']} kept for its validation PCC. Crops, whole clips, int8 weights: "
             "docs/training.md.", "",
             "## Data and licences", "",
             f"Recorded speech from Debian packages (data recipe {recipe}, seed "
             f"{config['data_seed']}): Asterisk prompts CC-BY-SA-3.0 and CC-BY-3.0, "
             "tuxpaint-stamps, hedgewars and fillets-ng GPL-2, klettres and ktuberling GPL-2+; "
             "mastered; degraded by noise, codecs, "
             "clipping, band limits, packet loss, rooms and noise suppression; labelled with the "
             "`pesq` package. The data set is not shipped; `bamac data` makes it again. Training "
             f"talkers: {', '.join(report['voices'])}.", "",
             "## Agreement with PESQ", "",
             "Test clips have talkers, languages, noises, music and rooms that are not in the "
             "training data; *unseen damage* has families or codecs that training never has. A "
             "clip counts under every degradation it has.", "", *_metrics(report), "",
             f"Share of values above 0 after each convolution: {ones}.", "",
             "## Limits", "",
             "One seed. Nearly all the speech is read prompts and single words of few talkers. "
             "PESQ is a model, not a human opinion, and the figures are agreement with it on this "
             "data; do not compare them with figures from other data sets. Calibrated for clips "
             "whose undamaged form is clean wide-band speech."]
    return "\n".join(lines) + "\n"
