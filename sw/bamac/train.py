"""Training: binary maps with float weights first, then int8 weights on the integer grid.

Two phases. In the first, the network trains with float weights and AdamW under a cosine schedule.
Then batch norm's statistics are measured again over the training set and frozen, the head's
integer scales are fixed, and the second phase fine-tunes with int8 weights (``bam-w8``) at a
lower rate; the ``fp32`` and ``bam`` variants stop after the first phase, with all epochs in it.
The network kept is the one with the best validation PCC of the last phase. Test clips are looked
at once, at the end.

``out_dir`` holds ``checkpoint.pt`` (everything a resumed run needs, written after every epoch),
``model.pt`` (the network), ``log.jsonl`` (a line per epoch) and ``report.json``, ``report.txt``.
A killed run that is started again with the same configuration continues at the epoch where it
stood, with the same random numbers; another configuration in the same folder is refused.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bamac.checkpoint import FORMAT, load_checkpoint, restore_network, save_checkpoint, save_network
from bamac.data import build as data_build
from bamac.features import FRONT_END, OFFSET, STEPS
from bamac.metrics import agreement, pcc
from bamac.networks import VARIANTS, Network, make_config

__all__ = ["TrainConfig", "TrainError", "predict", "report_text", "train"]


class TrainError(ValueError):
    """A training run cannot start, continue or finish."""


@dataclass(frozen=True)
class TrainConfig:
    """What decides a training run; the same values give the same network on the same machine.

    Parameters
    ----------
    network : ``"paper"``
    variant : ``"fp32"``, ``"bam"`` or ``"bam-w8"``
    clips : training clips of 5 s; validation and test sets follow from it
    epochs : in all
    int8_share : share of the epochs that train with int8 weights (``bam-w8``)
    batch : clips per step
    rate, int8_rate : peak learning rate of each phase
    weight_decay : of AdamW, on weights only
    seed : of the data set and of training
    threads : of PyTorch
    workers : processes that make the data set
    cache : folder of packages and data sets
    speech_folder : a folder of clean speech to use instead of the packages
    """

    network: str = "paper"
    variant: str = "bam-w8"
    clips: int = 5000
    epochs: int = 36
    int8_share: float = 1 / 3
    batch: int = 32
    rate: float = 3e-3
    int8_rate: float = 6e-4
    weight_decay: float = 1e-3
    seed: int = 1
    threads: int = 1
    workers: int = 2
    cache: str = str(data_build.DEFAULT_CACHE)
    speech_folder: str | None = None

    def __post_init__(self):
        if self.variant not in VARIANTS:
            raise ValueError(f"Variant must be one of {', '.join(VARIANTS)}, not {self.variant!r}")
        if self.network != "paper":
            raise TrainError(f"Network must be 'paper' to train on 5 s clips, "
                             f"not {self.network!r}")
        for name in ("clips", "epochs", "batch", "threads", "workers"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise TypeError(f"{name.capitalize()} must be a positive integer, not {value!r}")
        if not 0 <= self.int8_share < 1:
            raise ValueError(f"Share of int8 epochs must be in 0..1, not {self.int8_share!r}")

    @property
    def int8_epochs(self):
        """Epochs of the second phase; 0 for the variants without int8 weights."""
        if self.variant != "bam-w8":
            return 0
        return max(1, round(self.epochs * self.int8_share))

    def decides(self):
        """The values that decide the result, without those that only say how it is computed."""
        values = dataclasses.asdict(self)
        for name in ("threads", "workers", "cache"):
            del values[name]
        return values


def _tensor(features):
    x = torch.from_numpy(np.asarray(features, np.float32))[:, None]
    return x.to(memory_format=torch.channels_last)


def augment(features, rng):
    """Light changes that keep PESQ: the clip turned round in time, and a small change of level.

    ``features`` is int8 (n, frames, mels). Level moves by up to 4 dB, only where the value is
    far above the floor (there a level change is an addition; at the floor it is not).
    """
    out = features.copy()
    for i in range(len(out)):
        out[i] = np.roll(out[i], int(rng.integers(out.shape[1])), axis=0)
        shift = int(rng.integers(-8, 9))
        x = out[i].astype(np.int16)
        out[i] = np.where(x > -100, np.clip(x + shift, -100, 127), x)
    return out


def predict(network, features, batch=32):
    """Scores (n,) float64 of int8 features (n, frames, mels)."""
    network.eval()
    with torch.no_grad():
        return np.concatenate([
            network(_tensor(features[i:i + batch]))[:, 0].double().numpy()
            for i in range(0, len(features), batch)])


@torch.no_grad()
def _measure_norm(network, features, batch):
    """Batch norm statistics over the whole training set, as a plain mean over batches."""
    network.train()
    momenta = []
    for stage in network.convs:
        momenta.append(stage.norm.momentum)
        stage.norm.reset_running_stats()
        stage.norm.momentum = None
        stage.drop.eval()
    for i in range(0, len(features) - batch + 1, batch):
        network.maps(_tensor(features[i:i + batch]))
    for stage, momentum in zip(network.convs, momenta, strict=True):
        stage.norm.momentum = momentum


def _optimiser(network, config, rate):
    weights = [p for p in network.parameters() if p.dim() > 1]
    others = [p for p in network.parameters() if p.dim() == 1]
    return torch.optim.AdamW([{"params": weights, "weight_decay": config.weight_decay},
                              {"params": others, "weight_decay": 0.0}], lr=rate)


class _Schedule:
    """Two cosines, one per phase, each from its peak (after a short warm-up) to a hundredth."""

    def __init__(self, config, steps_per_epoch):
        self._first = (config.epochs - config.int8_epochs) * steps_per_epoch
        self._second = config.int8_epochs * steps_per_epoch
        self._config = config

    def __call__(self, step):
        config = self._config
        if step < self._first:
            peak, at, length = config.rate, step, self._first
        else:
            peak, at, length = config.int8_rate, step - self._first, self._second
        warm = min(1.0, (at + 1) / (0.02 * length + 1))
        return peak * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * at / length)))


def _densities(network, features):
    """Share of ones in every map, over some clips."""
    network.eval()
    with torch.no_grad():
        return [round(float(m.mean()), 4) for m in network.maps(_tensor(features))]


class _Run:
    """State of a training run; everything that a checkpoint holds."""

    def __init__(self, config, train_data, val_data, out_dir):
        self.config = config
        self.features, self.labels = train_data
        self.val_features, self.val_labels = val_data
        self.out = out_dir
        self.epoch = 0
        self.seconds = 0.0
        self.best = None  # (validation PCC, epoch, content of the network)
        torch.manual_seed(config.seed)
        self.network = Network(make_config(config.network, config.variant))
        self.network.score_offset.fill_(round(float(self.labels.mean()), 4))
        self.network.to(memory_format=torch.channels_last)
        self.steps = math.ceil(len(self.labels) / config.batch)
        self.schedule = _Schedule(config, self.steps)
        self.optimiser = _optimiser(self.network, config, config.rate)

    @property
    def path(self):
        return self.out / "checkpoint.pt"

    def resume(self):
        """Continue where the checkpoint in the folder stands, if there is one."""
        if not self.path.exists():
            return
        content = load_checkpoint(self.path)
        if content["decides"] != self.config.decides():
            changed = [name for name, value in self.config.decides().items()
                       if content["decides"].get(name) != value]
            raise TrainError(f"{self.out} holds a run with another configuration "
                             f"({', '.join(changed)} differ); give another --out or the same "
                             f"values")
        self.network = restore_network(content)
        self.optimiser = _optimiser(self.network, self.config, self.config.rate)
        self.optimiser.load_state_dict(content["optimiser"])
        self.epoch = content["epoch"]
        self.seconds = content["seconds"]
        self.best = content["best"] and tuple(content["best"])
        torch.set_rng_state(content["rng"])

    def save(self):
        save_checkpoint(self.path, {
            **self.network_content(), "decides": self.config.decides(), "epoch": self.epoch,
            "seconds": self.seconds, "best": list(self.best) if self.best else None,
            "optimiser": self.optimiser.state_dict(), "rng": torch.get_rng_state()})

    def network_content(self):
        return {"format": FORMAT, "config": self.network.config.as_dict(),
                "int8": self.network.int8, "norm_frozen": self.network.norm_frozen,
                "state": {k: v.detach().clone() for k, v in self.network.state_dict().items()}}

    def begin_int8(self):
        _measure_norm(self.network, self.features, self.config.batch)
        self.network.freeze_norm()
        sample = np.random.default_rng(self.config.seed).permutation(len(self.labels))[:640]
        batches = [_tensor(self.features[np.sort(sample[i:i + 32])])
                   for i in range(0, len(sample), 32)]
        self.network.start_int8(batches)
        self.optimiser = _optimiser(self.network, self.config, self.config.int8_rate)
        self.best = None

    def one_epoch(self, tick):
        """Train one epoch; returns its mean loss. ``tick`` is called after every step."""
        config = self.config
        start = time.monotonic()
        if config.int8_epochs and self.epoch == config.epochs - config.int8_epochs:
            self.begin_int8()
        rng = np.random.default_rng([config.seed, self.epoch])
        order = rng.permutation(len(self.labels))
        self.network.train()
        total = 0.0
        for i in range(self.steps):
            rows = order[i * config.batch:(i + 1) * config.batch]
            x = _tensor(augment(self.features[rows], rng))
            y = torch.from_numpy(self.labels[rows].astype(np.float32))
            for group in self.optimiser.param_groups:
                group["lr"] = self.schedule(self.epoch * self.steps + i)
            loss = torch.nn.functional.mse_loss(self.network(x)[:, 0], y)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
            self.optimiser.step()
            self.network.constrain()
            total += float(loss.detach()) * len(rows)
            tick()
        self.epoch += 1
        last_phase = self.epoch > config.epochs - config.int8_epochs or not config.int8_epochs
        if last_phase and not config.int8_epochs and self.epoch == config.epochs:
            _measure_norm(self.network, self.features, config.batch)
        scores = predict(self.network, self.val_features)
        line = {"epoch": self.epoch, "phase": "int8" if self.network.int8 else "float",
                "loss": round(total / len(self.labels), 5), "val": agreement(scores,
                                                                         self.val_labels),
                "density": _densities(self.network, self.val_features[:64])}
        value = pcc(scores, self.val_labels)
        # NaN (a constant score) never wins.
        if last_phase and value == value and (self.best is None or value > self.best[0]):
            self.best = value, self.epoch, self.network_content()
        self.seconds += time.monotonic() - start
        line["seconds"] = round(self.seconds, 1)
        return line


def _write_text(path, text):
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def _metadata(config, run, epoch):
    return {"front_end": FRONT_END, "offset": OFFSET, "steps": STEPS, "label": "PESQ (wide band)",
            "network": config.network, "variant": config.variant,
            "training": config.decides(), "recipe": data_build.RECIPE, "epoch": epoch,
            "int8": run.network.int8}


def train(config, out_dir, progress=None):
    """Make the data set, train, and test; returns the report that ``report.json`` holds.

    Parameters
    ----------
    config : :class:`TrainConfig`
    out_dir : folder of the run; a run that was interrupted there is continued
    progress : an object with ``data(done, total, text)``, ``step(epoch, done, total)`` and
        ``epoch(line, eta_seconds)``, each optional work of a display; None for silence
    """
    from bamac.evaluate import evaluate_features

    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(config.threads)
    tell_data = progress.data if progress else None
    folder = data_build.build(config.cache, clips=config.clips, seed=config.seed,
                              workers=config.workers, speech_folder=config.speech_folder,
                              splits=("train", "val"), progress=tell_data)
    sizes = data_build.split_sizes(config.clips)
    features, labels, entries = data_build.load_split(folder, "train", sizes["train"])
    val_features, val_labels, _ = data_build.load_split(folder, "val", sizes["val"])
    run = _Run(config, (features, labels), (val_features, val_labels), out)
    run.resume()
    log = out / "log.jsonl"
    if run.epoch == 0:
        log.unlink(missing_ok=True)
    while run.epoch < config.epochs:
        done = [0]

        def tick(done=done):
            done[0] += 1
            if progress:
                progress.step(run.epoch + 1, done[0], run.steps)

        line = run.one_epoch(tick)
        with log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        run.save()
        if progress:
            progress.epoch(line, run.seconds / run.epoch * (config.epochs - run.epoch))
    if run.best is None:
        raise TrainError("Training gave a constant score in every epoch; use more clips or epochs")
    _, epoch, content = run.best
    run.network = restore_network(content)
    folder = data_build.build(config.cache, clips=config.clips, seed=config.seed,
                              workers=config.workers, speech_folder=config.speech_folder,
                              progress=tell_data)
    save_network(out / "model.pt", run.network, _metadata(config, run, epoch))
    report = {"model": "model.pt", "configuration": config.decides(), "epoch": epoch,
              "training_seconds": round(run.seconds, 1),
              "voices": sorted({e["voice"] for e in entries})}
    for split in ("val", "test"):
        part, truth, manifest = data_build.load_split(folder, split, sizes[split])
        report[split] = evaluate_features(run.network, part, truth, manifest)
    report["density"] = _densities(run.network, val_features[:64])
    _write_text(out / "report.json", json.dumps(report, indent=1) + "\n")
    _write_text(out / "report.txt", report_text(report))
    return report


def report_text(report):
    """The report as a few lines for a terminal."""
    lines = [f"Kept epoch {report['epoch']} of {report['configuration']['epochs']}, "
             f"{report['training_seconds'] / 60:.0f} min of training.",
             "", f"{'clips':24}{'n':>6}{'PCC':>8}{'SRCC':>8}{'RMSE':>8}{'label std':>11}"]
    for split, title in (("val", "validation voices"), ("test", "test voices")):
        rows = [(title, report[split]["all"])]
        rows += [(f"  {name}", row) for name, row in report[split].get("family", {}).items()]
        for name, row in rows:
            pcc_srcc = "".join("    none" if row[key] is None else f"{row[key]:8.3f}"
                               for key in ("pcc", "srcc"))
            lines.append(f"{name:24}{row['clips']:6}{pcc_srcc}"
                         f"{row['rmse']:8.3f}{row['label_std']:11.3f}")
    lines += ["", "Share of ones per activation map: "
              + ", ".join(f"{d:.1%}" for d in report["density"])]
    return "\n".join(lines) + "\n"
