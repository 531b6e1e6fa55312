"""Training: crops first, then whole clips with everything on the integer grid.

Two phases. In the first, the network trains on random crops in bfloat16, with AdamW under a cosine
schedule; its weights are float, or with ``int8_first`` those of the convolutions are on their grid
already. Then batch norm's statistics are measured again over whole clips and
frozen, and the second phase fine-tunes on whole clips with everything that the hardware
will do: int8 weights and the integer head (variants ``w8`` and ``bam-w8``), fewer input bits,
fewer weight bits, pruned weights. The network kept is the one with the best validation PCC of the
last phase; without epochs of that phase, the one with which it would begin. Test clips are looked
at once, at the end.

A run may start from another run's network (``start``) and then does the second phase alone: the
rows of the accuracy table that differ in the second phase share their first. Binary maps may start
from a trained ReLU network (``twin``, :mod:`bamac.training.warm_start`) instead of at random, or
train that one first, in the folder ``twin`` of the run (``twin_epochs``).

``out_dir`` holds ``checkpoint.pt`` (everything a resumed run needs, written after every epoch),
``float.pt`` (the network after the first phase), ``model.pt`` (the network), ``log.jsonl`` (a line
per epoch), ``report.json``, ``report.txt``, ``card.md`` (the model card) and ``test.npz`` (scores
and labels of the test clips).

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
from statistics import NormalDist

import numpy as np
import torch

from bamac.data import build as data_build
from bamac.data.sources import RECIPE, RECIPES, WITHOUT_PESQ
from bamac.evaluation.metrics import agreement, agreement_lines, pcc
from bamac.frontends.log_mel import CENTRE, LOW_BANDS, STEPS, fewer_bits
from bamac.frontends.registry import PAPER_FRONT_ENDS
from bamac.nn.checkpoint import (
    FORMAT,
    load_checkpoint,
    load_network,
    restore_network,
    save_checkpoint,
    save_network,
)
from bamac.nn.config import VARIANTS, make_config
from bamac.nn.density import input_densities, mean_tile_density
from bamac.nn.network import Network

from .distributed import Workers
from .warm_start import warm_start

__all__ = ["TrainConfig", "TrainError", "predict", "report_text", "tensor_of", "train"]


TWIN_CLIPS = 512
"""Training clips that a start from the twin looks at."""
NORM_CLIPS = 4800
"""Training clips that batch norm's statistics are measured on."""


class TrainError(ValueError):
    """A training run cannot start, continue or finish."""


@dataclass(frozen=True)
class TrainConfig:
    """What decides a training run; the same values give the same network on the same machine.

    Parameters
    ----------
    network : ``"paper"``
    variant : ``"fp32"``, ``"w8"``, ``"bam"`` or ``"bam-w8"``
    clips : training clips of 5 s; validation and test sets follow from it
    epochs : of the first phase; not used with ``start``
    cycles : cosines of the learning rate in the first phase, of equal numbers of epochs, each from
        the peak again (warm restarts, Loshchilov and Hutter, arXiv:1608.03983)
    fine_epochs : of the second phase; with 0 the integer form is taken as it is, untrained
    int8_first : whether the convolutions' weights are on their grid (int8, or ``weight_bits``) in
        the first phase too; of the variants ``w8`` and ``bam-w8``
    crop : frames of the crops of the first phase; 249 is the whole clip
    batch : clips per step
    rate, fine_rate : peak learning rate of each phase
    weight_decay : of AdamW, on weights only
    bfloat16 : whether training computes its convolutions in bfloat16; evaluation never does
    global_pool : ``"sum"`` (ones per channel; of ReLU maps the mean) or ``"max"``
    start_bias : start of batch norm's bias, which sets the density of ones; None for the default.
        With ``twin`` each channel starts with just that density, Phi(start_bias)
    beta : width of the surrogate gradient
    union_penalty : weight of the mean 2x2 union density in the loss (see :mod:`bamac.nn.density`)
    fine_union_penalty : the same in the second phase; None for ``union_penalty``
    input_bits : bits of the input; below 8 the features are rounded
    weight_bits : bits of every convolution's weights, () for 8 everywhere
    colour : dB (standard deviation) of a smooth gain over frequency that every clip gets anew in
        every epoch; recordings differ by it, and PESQ makes up for part of it (ITU-T P.862)
    prune : share of every convolution's and hidden layer's weights set to zero in the second phase
    start : ``float.pt`` of another run, to do the second phase alone
    twin : ``float.pt`` of a run of the variant ``fp32``, for binary maps to start from
    twin_epochs : epochs on crops of a twin that the run trains first, at the default rate, with the
        same clips and seed; 0 for none
    seed : of initial values, order and augmentation
    data_seed, data_recipe : of the data set
    threads : of PyTorch
    device : ``"cpu"`` or ``"cuda"``
    workers : processes that make the data set
    cache : folder of packages and data sets
    speech_folder : a folder of clean speech to use instead of the packages
    """

    network: str = "paper"
    variant: str = "bam-w8"
    clips: int = 14_400
    epochs: int = 16
    cycles: int = 1
    fine_epochs: int = 3
    crop: int = 160
    batch: int = 16
    rate: float = 3e-3
    fine_rate: float = 5e-4
    weight_decay: float = 1e-3
    bfloat16: bool = True
    global_pool: str = "sum"
    start_bias: float | None = None
    beta: float = 2.0
    union_penalty: float = 0.0
    fine_union_penalty: float | None = None
    input_bits: int = 8
    weight_bits: tuple = ()
    colour: float = 0.0
    prune: float = 0.0
    int8_first: bool = False
    start: str | None = None
    twin: str | None = None
    twin_epochs: int = 0
    seed: int = 1
    data_seed: int = 1
    data_recipe: int = RECIPE
    threads: int = 1
    device: str = "cpu"
    workers: int = 2
    cache: str = str(data_build.DEFAULT_CACHE)
    speech_folder: str | None = None

    def __post_init__(self):
        if self.variant not in VARIANTS:
            raise ValueError(f"Variant must be one of {', '.join(VARIANTS)}, not {self.variant!r}")
        if self.network != "paper":
            raise TrainError(f"Network must be 'paper' to train on 5 s clips, "
                             f"not {self.network!r}")
        for name in ("clips", "epochs", "cycles", "batch", "threads", "workers", "crop"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise TypeError(f"{name.capitalize()} must be a positive integer, not {value!r}")
        for name in ("fine_epochs", "twin_epochs"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 0:
                raise TypeError(f"{name.capitalize()} must be a non-negative integer, "
                                f"not {value!r}")
        if self.epochs % self.cycles:
            whole = max(1, round(self.epochs / self.cycles)) * self.cycles
            raise TrainError(f"Epochs ({self.epochs}) must be a multiple of the cycles of the "
                             f"learning rate ({self.cycles}): give {whole} epochs")
        if self.int8_first and not self.variant.endswith("w8"):
            raise TrainError(f"Variant must be 'w8' or 'bam-w8' for int8 weights in the first "
                             f"phase, not {self.variant!r}")
        if self.data_recipe not in RECIPES:
            raise ValueError(f"Data recipe must be one of {', '.join(map(str, RECIPES))}, "
                             f"not {self.data_recipe!r}")
        if self.data_recipe in WITHOUT_PESQ:
            raise TrainError(f"Data recipe {self.data_recipe} has no PESQ to learn: give another, "
                             f"or learn DNSMOS P.808 with `bamac distil`")
        if not 32 <= self.crop <= 249:
            raise ValueError(f"Crop must be in 32..249 frames, not {self.crop!r}")
        if not 0 <= self.colour <= 12:
            raise ValueError(f"Colour must be in 0..12 dB, not {self.colour!r}")
        if not 0 <= self.prune < 1:
            raise ValueError(f"Share of pruned weights must be in 0..1, not {self.prune!r}")
        origins = [name for name in ("start", "twin", "twin_epochs") if getattr(self, name)]
        if len(origins) > 1:
            raise TrainError(f"{' and '.join(origins)} must not be given together: a run has one "
                             f"origin, a network with the first phase behind it (start), a twin "
                             f"to begin from (twin), or one to train first (twin_epochs)")
        if self.from_twin and not self.variant.startswith("bam"):
            raise TrainError(f"Variant must be 'bam' or 'bam-w8' to start from a twin, "
                             f"not {self.variant!r}")
        if self.from_twin and self.global_pool != "sum":
            raise TrainError(f"Global pool must be 'sum' to start from a twin, "
                             f"not {self.global_pool!r}")
        self.net_config()

    def net_config(self):
        """The network's configuration; raises ValueError for values that no network has."""
        changes = {"global_pool": self.global_pool, "beta": self.beta,
                   "input_bits": self.input_bits, "weight_bits": tuple(self.weight_bits)}
        if self.start_bias is not None:
            changes["start_bias"] = self.start_bias
        return make_config(self.network, self.variant, **changes)

    @property
    def from_twin(self):
        """Whether binary maps start from a ReLU network."""
        return bool(self.twin or self.twin_epochs)

    def twin_config(self):
        """The run that trains the twin: full precision, the first phase alone."""
        return TrainConfig(
            variant="fp32", epochs=self.twin_epochs, fine_epochs=0,
            **{name: getattr(self, name) for name in (
                "network", "clips", "crop", "batch", "weight_decay", "bfloat16", "colour", "seed",
                "data_seed", "data_recipe", "threads", "device", "workers", "cache",
                "speech_folder")})

    @property
    def first_epochs(self):
        """Epochs of the first phase."""
        return 0 if self.start else self.epochs

    @property
    def all_epochs(self):
        return self.first_epochs + self.fine_epochs

    def penalty(self, fine):
        """Weight of the union density in a phase."""
        own = self.fine_union_penalty if fine else None
        return self.union_penalty if own is None else own

    def decides(self):
        """The values that decide the result, without those that only say how it is computed."""
        values = dataclasses.asdict(self)
        for name in ("threads", "workers", "cache", "device"):
            del values[name]
        values["weight_bits"] = list(values["weight_bits"])
        return values


def tensor_of(features, bits=8, device="cpu"):
    """int8 features (n, frames, mels) as the float tensor that a network of that input reads."""
    values = fewer_bits(np.asarray(features, np.int8), bits)
    x = torch.from_numpy(values.astype(np.float32))[:, None]
    return x.to(device).to(memory_format=torch.channels_last)


COLOUR_KNOTS = np.linspace(0, 119, 7)
"""Mel bands at which a colour's gains are drawn; between them it is interpolated."""
STEPS_PER_DB = STEPS * np.log(10) / 10


def coloured_gain(rng, colour):
    """Steps (120,) of a smooth gain over the mel bands, ``colour`` dB at each knot on average."""
    gains = np.interp(np.arange(120), COLOUR_KNOTS, rng.normal(0, colour, COLOUR_KNOTS.size))
    return np.rint(gains * STEPS_PER_DB).astype(np.int16)


def shifted(clip, steps):
    """int8 features (frames, mels) after a gain in steps, where they are far above the floor.

    At the floor a gain is no addition; values of -100 and less stay, and none falls below it.
    """
    x = clip.astype(np.int16)
    return np.where(x > -100, np.clip(x + steps, -100, 127), x).astype(np.int8)


def augment(features, rng, crop=None, colour=0.0):
    """Light changes that keep PESQ: the clip turned round in time, a change of level, a crop.

    ``features`` is int8 (n, frames, mels). Level moves by up to 4 dB, and with ``colour`` the gain
    differs from band to band (:func:`coloured_gain`).
    """
    frames = crop or features.shape[1]
    out = np.empty((len(features), frames, features.shape[2]), np.int8)
    for i, clip in enumerate(features):
        x = np.roll(clip, int(rng.integers(len(clip))), axis=0)[:frames]
        steps = int(rng.integers(-8, 9))
        out[i] = shifted(x, steps + coloured_gain(rng, colour) if colour else steps)
    out[..., :LOW_BANDS] = CENTRE
    return out


def predict(network, features, batch=32):
    """Scores (n,) float64 of int8 features (n, frames, mels)."""
    network.eval()
    device = next(network.parameters()).device
    bits = network.config.input_bits
    with torch.no_grad():
        return np.concatenate([
            network(tensor_of(features[i:i + batch], bits, device))[:, 0].double().cpu().numpy()
            for i in range(0, len(features), batch)])


def _prune(network, share):
    """Set the smallest weights of every convolution and hidden layer to zero."""
    with torch.no_grad():
        for stage in [*network.convs, *list(network.head)[:-1]]:
            count = int(share * stage.weight.numel())
            if count:
                limit = stage.weight.abs().flatten().kthvalue(count).values
                stage.weight.mul_(stage.weight.abs() > limit)


def _optimiser(network, config, rate):
    weights = [p for p in network.parameters() if p.dim() > 1]
    others = [p for p in network.parameters() if p.dim() == 1]
    return torch.optim.AdamW([{"params": weights, "weight_decay": config.weight_decay},
                              {"params": others, "weight_decay": 0.0}], lr=rate)


class _Schedule:
    """Cosines, each from its peak (after a short warm-up) to a hundredth.

    One for each cycle of the first phase and one for the second phase.
    """

    def __init__(self, config, steps_per_epoch):
        self._first = config.first_epochs * steps_per_epoch
        self._cycle = self._first // config.cycles
        self._second = config.fine_epochs * steps_per_epoch
        self._config = config

    def __call__(self, step):
        config = self._config
        if step < self._first:
            peak, at, length = config.rate, step % self._cycle, self._cycle
        else:
            peak, at, length = config.fine_rate, step - self._first, self._second
        warm = min(1.0, (at + 1) / (0.02 * length + 1))
        return peak * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * at / length)))


def _densities(network, features):
    """Share of ones in every map, over some clips."""
    network.eval()
    device = next(network.parameters()).device
    with torch.no_grad():
        maps = network.maps(tensor_of(features, network.config.input_bits, device))
    return [round(float((m > 0).float().mean()), 4) for m in maps]


class _Run:
    """State of a training run; everything that a checkpoint holds."""

    def __init__(self, config, train_data, val_data, out_dir, crew, twin):
        self.config = config
        self.features, self.labels = train_data
        self.val_features, self.val_labels = val_data
        self.out = out_dir
        self.crew = crew
        self.epoch = 0
        self.seconds = 0.0
        self.best = None  # (validation PCC, epoch, content of the network)
        torch.manual_seed(config.seed)
        self.network = Network(config.net_config())
        self.network.score_offset.fill_(round(float(self.labels.mean()), 4))
        if config.start:
            self._start_from(config.start)
        if twin and not self.path.exists():
            self._start_from_twin(twin)
        self._constrain_first()
        self._place()
        self.masks = None
        self.steps = math.ceil(len(self.labels) / config.batch)
        self.schedule = _Schedule(config, self.steps)
        self.optimiser = _optimiser(self.network, config, config.rate)

    def _constrain_first(self):
        if self.config.int8_first and not self.network.int8:
            self.network.set_int8_convs()

    def _place(self):
        self.network.to(self.config.device).to(memory_format=torch.channels_last)

    def _start_from(self, path):
        start, metadata = load_network(path)
        self.start_training = metadata.get("training", {})
        if start.int8 or start.config.binary != self.network.config.binary:
            raise TrainError(f"{path} must hold a network of the same activations, before int8 "
                             f"training: the float.pt of a run")
        state = start.state_dict()
        self.network.load_state_dict(state)

    def _start_from_twin(self, path):
        twin, metadata = load_network(path)
        if twin.config.variant != "fp32" or metadata.get("network", "paper") != self.config.network:
            raise TrainError(f"{path} must hold the network of a run with --variant fp32 of the "
                             f"same shape, not {metadata.get('network', 'paper')} "
                             f"{twin.config.variant}")
        rng = np.random.default_rng([self.config.seed, 77])
        chosen = np.sort(rng.permutation(len(self.labels))[:TWIN_CLIPS])
        inputs = [[tensor_of(self.features[chosen[i:i + 32]], bits)
                   for i in range(0, len(chosen), 32)]
                  for bits in (self.config.input_bits, twin.config.input_bits)]
        density = NormalDist().cdf(self.network.config.start_bias)
        warm_start(self.network, twin.eval(), inputs[0], density, self.config.seed, inputs[1])

    @property
    def path(self):
        return self.out / "checkpoint.pt"

    def resume(self):
        """Continue where the checkpoint in the folder stands, if there is one."""
        if not self.path.exists():
            return
        content = load_checkpoint(self.path)
        if content["decides"] != self.config.decides():
            before = content["decides"]
            changed = [name for name, value in self.config.decides().items()
                       if name not in before or before[name] != value]
            raise TrainError(f"{self.out} holds a run with another configuration "
                             f"({', '.join(changed)} differ); give another --out or the same "
                             f"values")
        self.network = restore_network(content)
        self._constrain_first()
        self._place()
        self.optimiser = _optimiser(self.network, self.config, self.config.rate)
        self.optimiser.load_state_dict(content["optimiser"])
        self.epoch = content["epoch"]
        self.seconds = content["seconds"]
        self.best = content["best"] and tuple(content["best"])
        if self.epoch > self.config.first_epochs:
            self._find_masks()
        torch.set_rng_state(content["rng"])

    def save(self):
        save_checkpoint(self.path, {
            **self.network_content(), "decides": self.config.decides(), "epoch": self.epoch,
            "seconds": self.seconds, "best": list(self.best) if self.best else None,
            "optimiser": self.optimiser.state_dict(), "rng": torch.get_rng_state()})

    def network_content(self):
        return {"format": FORMAT, "config": self.network.config.as_dict(),
                "int8": self.network.int8, "norm_frozen": self.network.norm_frozen,
                "state": {k: v.detach().cpu().clone()
                          for k, v in self.network.state_dict().items()}}

    def _find_masks(self):
        if self.config.prune:
            self.masks = [(stage.weight, stage.weight.detach() != 0)
                          for stage in [*self.network.convs, *list(self.network.head)[:-1]]]

    def measure_norm(self):
        """Measure batch norm's statistics over many whole clips, in random batches as in training.

        Neighbours in the data set are pairs of one recording, and differ less than clips at random.
        """
        config = self.config
        rng = np.random.default_rng([config.seed, 78])
        chosen = rng.permutation(len(self.features))[:NORM_CLIPS]
        self.network.measure_norm(
            tensor_of(self.features[chosen[i:i + config.batch]], config.input_bits, config.device)
            for i in range(0, max(1, len(chosen) - config.batch + 1), config.batch))

    def begin_fine(self):
        """Enter the second phase: measure and freeze batch norm, then put the constraints on."""
        config = self.config
        if config.prune:
            _prune(self.network, config.prune)
        self._find_masks()
        self.measure_norm()
        self.network.freeze_norm()
        if config.variant.endswith("w8"):
            sample = np.random.default_rng(config.seed).permutation(len(self.labels))[:640]
            self.network.start_int8([
                tensor_of(self.features[np.sort(sample[i:i + 32])], config.input_bits,
                        config.device) for i in range(0, len(sample), 32)])
        self.optimiser = _optimiser(self.network, config, config.fine_rate)
        self.best = None

    def take_as_it_is(self):
        """Keep the network with which the second phase would begin."""
        self.begin_fine()
        value = pcc(predict(self.network, self.val_features), self.val_labels)
        if value == value:
            self.best = value, self.epoch, self.network_content()

    def _loss(self, rows, rng, fine):
        config = self.config
        crop = None if fine else config.crop
        x = augment(self.features[rows], rng, crop, config.colour)
        mine = self.crew.share(np.arange(len(rows)))
        x = tensor_of(x[mine], config.input_bits, config.device)
        y = torch.from_numpy(self.labels[rows][mine].astype(np.float32)).to(config.device)
        half = torch.autocast(config.device, torch.bfloat16, enabled=config.bfloat16)
        with half:
            maps = self.network.maps(x)
        # The head counts ones beyond 256, which bfloat16 cannot
        scores = self.network.score(maps[-1].float(), x.shape[2])
        error = torch.nn.functional.mse_loss(scores[:, 0].float(), y)
        penalty = config.penalty(fine)
        loss = error + penalty * mean_tile_density(self.network, maps) if penalty else error
        return error, loss, len(mine)

    def one_epoch(self, tick):
        """Train one epoch; returns its line of the log. ``tick`` is called after every step."""
        config = self.config
        start = time.monotonic()
        fine = self.epoch >= config.first_epochs
        if self.epoch == config.first_epochs:
            self.begin_fine()
        # The second phase has the same clips whether the first was in this run or in another.
        within = self.epoch - config.first_epochs if fine else self.epoch
        rng = np.random.default_rng([config.seed, within])
        order = rng.permutation(len(self.labels))
        self.network.train()
        total = 0.0
        for i in range(self.steps):
            rows = order[i * config.batch:(i + 1) * config.batch]
            for group in self.optimiser.param_groups:
                group["lr"] = self.schedule(self.epoch * self.steps + i)
            error, loss, share = self._loss(rows, rng, fine)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self.crew.average_gradients(self.network.parameters(), share, len(rows))
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
            self.optimiser.step()
            with torch.no_grad():
                for weight, mask in self.masks or ():
                    weight.mul_(mask)
            self.network.constrain()
            total += float(error.detach()) * share
            tick()
        self.epoch += 1
        self.crew.average_buffers(self.network)
        if self.epoch == config.first_epochs:
            self.measure_norm()
        scores = predict(self.network, self.val_features)
        line = {"epoch": self.epoch, "phase": "fine" if fine else "float",
                "loss": round(self.crew.total(total) / len(self.labels), 5),
                "val": agreement(scores, self.val_labels),
                "density": _densities(self.network, self.val_features[:64])}
        value = pcc(scores, self.val_labels)
        # NaN (a constant score) never wins.
        if fine and value == value and (self.best is None or value > self.best[0]):
            self.best = value, self.epoch, self.network_content()
        self.seconds += time.monotonic() - start
        line["seconds"] = round(self.seconds, 1)
        return line


def _write_text(path, text):
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def _metadata(config, run, epoch):
    front_end = PAPER_FRONT_ENDS[config.input_bits].front_end
    return {"front_end": front_end.kind, "offset": front_end.offset, "steps": front_end.steps,
            "label": "PESQ (wide band)", "network": config.network, "variant": config.variant,
            "training": config.decides(), "recipe": config.data_recipe, "epoch": epoch,
            "int8": run.network.int8}


def _build(config, crew, tell, splits):
    """The data set's folder; the first process makes it, the others wait for it."""
    folder = None
    for turn in (True, False):
        if crew.first == turn:
            folder = data_build.build(config.cache, clips=config.clips, seed=config.data_seed,
                                      workers=config.workers, speech_folder=config.speech_folder,
                                      splits=splits, recipe=config.data_recipe,
                                      progress=tell)
        crew.wait()
    return folder


def train(config, out_dir, progress=None):
    """Make the data set, train, and test; returns the report that ``report.json`` holds.

    Parameters
    ----------
    config : :class:`TrainConfig`
    out_dir : folder of the run; a run that was interrupted there is continued
    progress : an object with ``data(done, total, text)``, ``step(epoch, done, total)``,
        ``epoch(line, eta_seconds)`` and ``part(text)``, each optional work of a display; None for
        silence

    Raises
    ------
    TrainError
        If the folder holds another run, the start network or the twin does not fit, or every
        score is constant.
    """
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    twin = config.twin
    if config.twin_epochs:
        twin = _train_twin(config, out, progress)
    torch.set_num_threads(config.threads)
    crew = Workers(config.device)
    if not crew.first:
        progress = None
    tell_data = progress.data if progress else None
    folder = _build(config, crew, tell_data, ("train", "val"))
    sizes = data_build.split_sizes(config.clips)
    features, labels, entries = data_build.load_split(folder, "train", sizes["train"])
    val_features, val_labels, _ = data_build.load_split(folder, "val", sizes["val"])
    run = _Run(config, (features, labels), (val_features, val_labels), out, crew, twin)
    run.resume()
    _epochs(run, progress)
    if not config.fine_epochs:
        run.take_as_it_is()
    if run.best is None:
        raise TrainError("Training gave a constant score in every epoch; use more clips or epochs")
    _, epoch, content = run.best
    run.network = restore_network(content)
    folder = _build(config, crew, tell_data, data_build.SPLITS)
    report = None
    if crew.first:
        save_network(out / "model.pt", run.network, _metadata(config, run, epoch))
        report = _report(run, folder, sizes, epoch, sorted({e["voice"] for e in entries}))
    crew.wait()
    return report


def _train_twin(config, out, progress):
    """``float.pt`` of the run's own twin, which is trained unless the run has begun already."""
    folder = out / "twin"
    if not (out / "checkpoint.pt").exists():
        if progress:
            progress.part(f"The full-precision twin, {config.twin_epochs} epochs:")
        train(config.twin_config(), folder, progress)
        if progress:
            progress.part(f"Binary maps from it, {config.all_epochs} epochs:")
    return folder / "float.pt"


def _epochs(run, progress):
    """Train to the last epoch, with a checkpoint and a line of the log after each."""
    config, log = run.config, run.out / "log.jsonl"
    if run.epoch == 0 and run.crew.first:
        log.unlink(missing_ok=True)
    while run.epoch < config.all_epochs:
        done = [0]

        def tick(done=done):
            done[0] += 1
            if progress:
                progress.step(run.epoch + 1, done[0], run.steps)

        line = run.one_epoch(tick)
        if run.crew.first:
            with log.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")
            if run.epoch == config.first_epochs:
                save_network(run.out / "float.pt", run.network,
                             _metadata(config, run, run.epoch))
            run.save()
        run.crew.wait()
        if progress:
            progress.epoch(line, run.seconds / run.epoch * (config.all_epochs - run.epoch))


def _report(run, folder, sizes, epoch, voices):
    from bamac.evaluation.levels import evaluate_features
    from bamac.report.card import model_card

    config = run.config
    report = {"model": "model.pt", "configuration": config.decides(), "epoch": epoch,
              "training_seconds": round(run.seconds, 1), "voices": voices,
              "epochs": config.all_epochs}
    if config.start:
        report["first_phase"] = run.start_training
    for split in ("val", "test"):
        part, truth, manifest = data_build.load_split(folder, split, sizes[split])
        report[split] = evaluate_features(run.network, part, truth, manifest)
        if split == "test":
            temporary = run.out / "test.partial.npz"
            np.savez(temporary, scores=predict(run.network, part), labels=truth)
            os.replace(temporary, run.out / "test.npz")
            ones, unions = input_densities(run.network, tensor_of(part[:200], config.input_bits))
            report["input_ones"] = [round(v, 5) for v in ones]
            report["input_unions"] = [round(v, 5) for v in unions]
    report["density"] = _densities(run.network, run.val_features[:64])
    _write_text(run.out / "report.json", json.dumps(report, indent=1) + "\n")
    _write_text(run.out / "report.txt", report_text(report))
    _write_text(run.out / "card.md", model_card(run.out.name, report))
    return report


def report_text(report):
    """The report as a few lines for a terminal."""
    lines = [f"Kept epoch {report['epoch']} of {report['epochs']}, "
             f"{report['training_seconds'] / 60:.0f} min of training.",
             "", *agreement_lines(report)]
    lines += ["", "Share of ones per activation map: "
              + ", ".join(f"{d:.1%}" for d in report["density"])]
    return "\n".join(lines) + "\n"
