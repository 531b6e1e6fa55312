"""Distillation: a P.808-shaped network with binary maps learns to score as DNSMOS P.808 does.

The teacher is the released network (:mod:`bamac.training.dnsmos_start`), asked again for every clip
of every step: so clips can be cut and changed (:mod:`bamac.training.feature_augmentation`) and
still have an exact label. The student starts as a fit of that network, or as another run left it
(``start``), with one threshold per kernel of the last map or more (``levels``,
:mod:`bamac.training.thermometer`), and a head that reads numbers of ones or units that saturate
(``count_caps``, :mod:`bamac.nn.count_units`). Loss: squared error of the score, plus ``hint`` times
the error of the two hidden dense layers, which have the teacher's shape. With ``segments`` the last
maps of teacher and student are also cut along time, and each part scored: many labels for one pass,
and each says more of where the damage is. The parts have a head of their own, a float copy of the
student's that learns beside it and is then thrown away, since a maximum depends on how long it
looks.

Three phases. ``crop``: random crops, float weights. ``whole``: crops that hold all of a 5 s clip,
float weights. ``int8``: the head's integer scales fixed, int8 weights on the integer grid, whole
windows. Batch norm's statistics are measured over training clips before the last phase and frozen,
or are those of the warm start throughout. A crop's numbers of ones are scaled up by the ratio of
the areas, so that the head always sees numbers of the same size. The rate goes down to a fiftieth
over the last phase, and the network after its last epoch is the result: none is picked by its
score. Validation clips (unchanged, whole) are looked at after every epoch, test clips once, at the
end.

``out_dir`` holds ``checkpoint.pt`` (written after every epoch, enough to continue), ``model.pt``,
``log.jsonl`` (a line per epoch), ``report.json`` and ``card.md`` (the model card). A killed run
that is started again with the same configuration continues at the epoch where it stood, with the
same random numbers; another configuration in the same folder is refused.

Cost per clip of a whole window on one core with AVX512-BF16 (AMD EPYC, channels_last, teacher and
augmentation included): 12 ms with both of its threads, 25 ms with one and another job on the other;
a crop costs what its frames do. ``compile`` makes the convolutions' part 1.5 to 1.8 times as fast
on a Xeon with AMX (``python -m benchmarks.training_step``). The teacher in bfloat16 is off by 0.006
(RMS; 0.017 at most) against float32. Set MALLOC_MMAP_THRESHOLD_=4294967296 and
MALLOC_TRIM_THRESHOLD_=8589934592 in the environment to keep glibc from giving memory back after
every step.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import operator
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from bamac.evaluation.metrics import agreement, agreement_lines
from bamac.files import write_text
from bamac.frontends.dnsmos import FRAMES, MELS, P808_FRONT_END, STEPS
from bamac.nn.checkpoint import (
    FORMAT,
    load_checkpoint,
    load_network,
    restore_network,
    save_checkpoint,
    save_network,
)
from bamac.nn.config import make_config, with_thresholds
from bamac.nn.count_units import add_count_units, fit_head
from bamac.nn.network import Network

from .dnsmos_start import released_network
from .feature_augmentation import CLIP_FRAMES, augment, random_crops, turned, warped
from .thermometer import add_levels, add_thresholds
from .warm_start import warm_start

__all__ = ["Clips", "DistilConfig", "DistilError", "distil", "predict", "report_text"]

PHASES = ("crop", "whole", "int8")
START_CLIPS = 512
"""Training clips that the warm start looks at."""
NORM_CLIPS = 1024
"""Training clips that batch norm's statistics are measured on."""
HEAD_CLIPS = 8000
"""Training clips, changed as in training, that a head with new count units is fitted on."""
SEGMENT_WEIGHT = 0.5
"""Weight of the segments' error in the loss."""


class DistilError(ValueError):
    """A distillation cannot start, continue or finish."""


@dataclass(frozen=True)
class Clips:
    """Clips of one split: int8 features (n, 900, 120), DNSMOS scores (n,), manifest entries."""

    features: np.ndarray
    labels: np.ndarray
    entries: list

    def __post_init__(self):
        shape = np.shape(self.features)
        if len(shape) != 3 or shape[1:] != (FRAMES, MELS) or shape[0] != len(self.labels):
            raise DistilError(f"Features must be (n, {FRAMES}, {MELS}) with a label each, "
                              f"not {shape} and {len(self.labels)} labels")


@dataclass(frozen=True)
class DistilConfig:
    """What decides a distillation; the same values give the same network on the same machine.

    Parameters
    ----------
    crop_epochs, whole_epochs, int8_epochs : epochs of each phase
    crop : frames of a crop in the first phase (10 ms each)
    batch : clips per step; the other phases use half of it
    rate, whole_rate, int8_rate : peak learning rate of each phase
    weight_decay : of AdamW, on weights only
    freeze_norm : keep batch norm's statistics as the warm start set them (its gain and bias still
        learn), or use those of each batch until the int8 phase
    hint : weight of the hidden layers' error in the loss
    levels : thresholds per kernel of the last map at the start; its channels are this many times 64
    thresholds : thresholds per kernel of each map before the last, which share its weights; the
        map's channels are this many times 32
    count_caps : ends of the saturating units that the head reads in place of the numbers of ones,
        in means of each channel's number (:mod:`bamac.nn.count_units`); none by default
    segments : parts of equal length along time that are scored too, 0 for none
    change : share of the clips that are changed before the teacher is asked
    turn : share of the clips whose window starts elsewhere in the repeated clip
    warp : share of the clips with another tempo and vocal tract, starting anywhere; both are for
        clips of 5 s, and come before ``change``
    start_density : share of ones in every map at the start; None for the teacher's own share of
        active values per channel (:func:`bamac.training.warm_start.warm_start`)
    beta : width parameter of the surrogate gradient
    start : ``model.pt`` of another run to go on from, in place of the fit of the released network
    seed : of everything random
    bf16 : compute convolutions of training and the teacher in bfloat16
    compile : where batch norm is frozen, compile the gradient of pool and step
        (:mod:`bamac.nn.fused`); it is rounded in other places then
    threads : of PyTorch
    """

    crop_epochs: int = 8
    whole_epochs: int = 0
    int8_epochs: int = 2
    crop: int = 500
    batch: int = 32
    rate: float = 1e-3
    whole_rate: float = 5e-4
    int8_rate: float = 3e-4
    weight_decay: float = 1e-3
    freeze_norm: bool = False
    hint: float = 0.1
    levels: int = 1
    thresholds: tuple = (1, 1, 1, 1)
    count_caps: tuple = ()
    segments: int = 0
    change: float = 0.5
    turn: float = 0.0
    warp: float = 0.0
    start_density: float | None = None
    beta: float = 2.0
    start: str | None = None
    seed: int = 1
    bf16: bool = True
    compile: bool = False
    threads: int = 1

    def __post_init__(self):
        for name in ("crop_epochs", "whole_epochs", "segments"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 0:
                raise TypeError(f"{name} must be an integer of 0 or more, not {value!r}")
        for name in ("int8_epochs", "batch", "threads", "levels"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise TypeError(f"{name} must be a positive integer, not {value!r}")
        object.__setattr__(self, "thresholds", tuple(self.thresholds))
        if len(self.thresholds) != 4 or not all(isinstance(n, int) and n >= 1
                                                for n in self.thresholds):
            raise ValueError(f"thresholds must be four positive integers, one for each map before "
                             f"the last, not {_numbers(self.thresholds)}")
        object.__setattr__(self, "count_caps", tuple(self.count_caps))
        if not all(cap > 0 for cap in self.count_caps):
            raise ValueError(f"count_caps must be positive numbers, not "
                             f"{_numbers(self.count_caps)}")
        if not 8 <= self.crop <= FRAMES:
            raise ValueError(f"crop must be in 8..{FRAMES} frames, not {self.crop}")
        for frames, epochs in ((self.crop, self.crop_epochs), (CLIP_FRAMES, self.whole_epochs)):
            rows = self.network().map_shape(frames)[0]
            if epochs and self.segments > rows:
                raise DistilError(f"segments must be at most the {rows} rows of the last map of "
                                  f"{frames} frames, not {self.segments}")
        for name in ("change", "turn", "warp"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in 0..1, not {getattr(self, name)!r}")

    @property
    def epochs(self):
        """Epochs of each phase, in order."""
        return {"crop": self.crop_epochs, "whole": self.whole_epochs, "int8": self.int8_epochs}

    @property
    def rates(self):
        """Peak learning rate of each phase."""
        return {"crop": self.rate, "whole": self.whole_rate, "int8": self.int8_rate}

    def phase(self, epoch):
        """``(phase, epoch within the phase)`` of the epoch number, from 0."""
        for name, count in self.epochs.items():
            if epoch < count:
                return name, epoch
            epoch -= count
        raise ValueError("Epoch must be one of the configured ones")

    def network(self):
        """The student's configuration."""
        one = make_config("p808", "bam-w8", beta=self.beta)
        last = one.convs[-1]
        last = dataclasses.replace(last, out_channels=last.out_channels * self.levels)
        return with_thresholds(dataclasses.replace(one, convs=(*one.convs[:-1], last),
                                                   count_units=len(self.count_caps)),
                               (*self.thresholds, 1))

    def decides(self):
        """The values that decide the result, without those that only say how it is computed."""
        values = dataclasses.asdict(self)
        del values["threads"]
        values |= {name: list(values[name]) for name in ("thresholds", "count_caps")}
        return values


def _thresholds(network):
    """Thresholds per kernel of each map before the last."""
    return tuple(conv.levels for conv in network.config.convs[:-1])


def _all_at_most(values, limits):
    return len(values) == len(limits) and all(map(operator.le, values, limits))


def _numbers(values):
    return ",".join(map(str, values))


def tensor(features):
    """Float32 (n, 1, rows, cols), channels last, of int8 (n, rows, cols)."""
    x = torch.from_numpy(np.asarray(features, np.float32))[:, None]
    return x.to(memory_format=torch.channels_last)


def predict(network, features, batch=16):
    """Scores (n,) float64 of int8 features (n, frames, mels), in exact float32 arithmetic."""
    network.eval()
    with torch.no_grad():
        return np.concatenate([network(tensor(features[i:i + batch]))[:, 0].double().numpy()
                               for i in range(0, len(features), batch)])


def _autocast(config):
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=config.bf16)


def _parts(maps, count):
    """Maps (n, channels, rows, cols) cut along time into ``count`` parts: (count * n, ...)."""
    rows = maps.shape[2] // count
    return torch.cat([maps[:, :, i * rows:(i + 1) * rows] for i in range(count)])


@torch.no_grad()
def _teacher_map(teacher, x, config):
    with _autocast(config):
        return teacher.maps(x)[-1]


@torch.no_grad()
def _teacher_layers(teacher, last):
    """The teacher's hidden dense layers and its score, of its last map: three (n, features)."""
    layers = [last.amax((2, 3)).float()]
    for stage in teacher.head:
        layers.append(stage(layers[-1]))
    return layers[1:]


def student_layers(network, x, config):
    """The same of the student, in the same real units; the last one is the score.

    Convolutions may run in bfloat16; ones are counted, and the head computed, in float32.
    """
    return _student_layers(network, network.head, _student_map(network, x, config))


def _student_map(network, x, config):
    with _autocast(config):
        return network.maps(x)[-1]


def _student_layers(network, head, last):
    vector = _ones(network, last)
    layers = []
    if head[0].int8:
        for stage in head:
            vector = stage(vector)
            layers.append(vector * float(stage.out_scale if not stage.last
                                         else network.score_scale))
    else:
        vector = vector * network.pool_scale
        for stage in head:
            vector = stage(vector)
            layers.append(vector)
    layers[-1] = layers[-1] + float(network.score_offset)
    # The teacher has no count units
    return layers[1:] if network.config.count_units else layers


def _ones(network, last):
    """Numbers of ones (n, channels) in whole clips, and comparable to them in crops."""
    rows, cols = network.config.map_shape()
    return last.float().mean((2, 3)) * (rows * cols)


def _optimiser(modules, config, rate):
    parameters = [p for module in modules for p in module.parameters()]
    decay = [p for p in parameters if p.dim() > 1]
    rest = [p for p in parameters if p.dim() <= 1]
    return torch.optim.AdamW([{"params": decay, "weight_decay": config.weight_decay},
                              {"params": rest, "weight_decay": 0.0}], lr=rate)


def _differences(config, other):
    """Names of what makes two networks unlike to look at; how they are trained is not."""
    mine, its = config.as_dict(), other.as_dict()
    return [name for name in mine if name not in ("beta", "start_bias", "dropout")
            and mine[name] != its.get(name)]


class _Run:
    """State of a distillation; everything that a checkpoint holds."""

    def __init__(self, config, train, val, out_dir, progress=None):
        self.config, self.train, self.val, self.out = config, train, val, out_dir
        self.progress = progress
        self.teacher = released_network()
        self.epoch, self.seconds = 0, 0.0
        torch.manual_seed(config.seed)
        self.optimiser = None
        self.segment_head = None
        layers = [_teacher_layers(self.teacher, _teacher_map(self.teacher, x, config))
                  for x in self._sample(256)]
        self.spread = [float(torch.cat(parts).var(0).mean()) for parts in zip(*layers, strict=True)]
        if not self.path.exists():
            self.network = self._start()
            if config.freeze_norm:
                self.network.freeze_norm()

    def _start(self):
        """The network before the first step, with float weights."""
        config = self.config
        wanted = config.network()
        start, about = load_network(config.start) if config.start else (None, {})
        counts = [config.thresholds]
        if start and _all_at_most(_thresholds(start), config.thresholds):
            counts.insert(0, _thresholds(start))
        known = [dataclasses.replace(config, levels=levels, thresholds=thresholds,
                                     count_caps=()).network()
                 for thresholds in counts for levels in (config.levels, 1)]
        if start and start.config.count_units:
            known.insert(0, wanted)
        alike = [net for net in known if start and not _differences(start.config, net)]
        # A fit has all thresholds but those of the last map
        network = Network((alike or known)[-1]).to(memory_format=torch.channels_last)
        network.score_offset.fill_(round(float(self.train.labels.mean()), 4))
        if start:
            other = _differences(start.config, network.config)
            if other:
                raise DistilError(
                    f"{config.start} must hold a network of the P.808 shape with binary maps and "
                    f"int8 weights, as `bamac distil` makes it, with {config.levels} "
                    f"{'levels or one' if config.levels > 1 else 'level'} in its last map and "
                    f"{_numbers(config.thresholds)} thresholds per kernel, or fewer, in the "
                    f"maps before it, and with {len(config.count_caps)} count units per channel "
                    f"or none, not one of another {', '.join(other)}")
            caps = about.get("training", {}).get("count_caps", [])
            if start.config.count_units and caps and tuple(caps) != config.count_caps:
                raise DistilError(f"{config.start} has units that stop at {_numbers(caps)} means; "
                                  f"give --count-caps {_numbers(caps)} to keep them, not "
                                  f"{_numbers(config.count_caps)}")
            network.load_state_dict(start.state_dict())
        else:
            warm_start(network, self.teacher, self._sample(START_CLIPS), config.start_density,
                       config.seed)
        convs = (*network.config.convs[:-1], wanted.convs[-1])
        if network.config.convs != convs:
            network = add_levels(dataclasses.replace(network.config, convs=convs), network,
                                 self.teacher, self._sample(START_CLIPS), config.seed)
        if network.config.convs != wanted.convs:
            network = add_thresholds(dataclasses.replace(network.config, convs=wanted.convs),
                                     network, self._sample(START_CLIPS))
        if network.config.count_units != wanted.count_units:
            network = self._add_count_units(network)
        return network

    @torch.no_grad()
    def _add_count_units(self, network):
        """The network with count units, its head fitted to them on clips as training has them."""
        config = self.config
        network.eval()
        rng = np.random.default_rng([config.seed, 78])
        chosen = rng.permutation(len(self.train.labels))[:HEAD_CLIPS]
        counts, wanted = [], []
        for i in range(0, len(chosen), 16):
            clips = self._varied(self.train.features[np.sort(chosen[i:i + 16])], rng)
            x = tensor(augment(clips, rng, config.change))
            counts.append(_ones(network, _student_map(network, x, config)))
            wanted.append(_teacher_layers(self.teacher, _teacher_map(self.teacher, x, config)))
            if self.progress:
                self.progress.data(min(i + 16, len(chosen)), len(chosen), "count ones for the head")
        counts = torch.cat(counts)
        wanted = [torch.cat(parts) for parts in zip(*wanted, strict=True)]
        network = add_count_units(network, counts.mean(0), config.count_caps)

        def loss(given, rows):
            given[-1] = given[-1] + float(network.score_offset)
            return self._error(given, [layer[rows] for layer in wanted])

        with torch.enable_grad():
            fit_head(network, counts, loss, config.seed)
        return network

    def _sample(self, count):
        """Batches of ``count`` whole training clips, always the same ones."""
        rng = np.random.default_rng([self.config.seed, 77])
        chosen = np.sort(rng.permutation(len(self.train.labels))[:count])
        return [tensor(self.train.features[chosen[i:i + 32]])
                for i in range(0, len(chosen), 32)]

    @property
    def path(self):
        return self.out / "checkpoint.pt"

    def resume(self):
        """Continue where the checkpoint in the folder stands, if there is one."""
        if not self.path.exists():
            return
        content = load_checkpoint(self.path)
        wanted = self.config.decides()
        # What a run of an earlier version could not choose it did as the defaults do
        stored = {**DistilConfig().decides(), **(content.get("decides") or dict.fromkeys(wanted))}
        changed = [name for name in stored if stored[name] != wanted.get(name)]
        if changed:
            raise DistilError(f"{self.out} holds a run with another configuration "
                              f"({', '.join(changed)} differ); give another --out or the same "
                              f"values")
        self.network = restore_network(content)
        if content.get("segment_head"):
            self.segment_head = Network(self.network.config).head
            self.segment_head.load_state_dict(content["segment_head"])
        self.optimiser = _optimiser(self._modules(), self.config, 0.0)
        self.optimiser.load_state_dict(content["optimiser"])
        self.epoch, self.seconds = content["epoch"], content["seconds"]
        torch.set_rng_state(content["rng"])

    def save(self):
        save_checkpoint(self.path, {
            **self._network_content(), "decides": self.config.decides(), "epoch": self.epoch,
            "seconds": self.seconds,
            "segment_head": self.segment_head and self.segment_head.state_dict(),
            "optimiser": self.optimiser.state_dict(), "rng": torch.get_rng_state()})

    def _network_content(self):
        return {"format": FORMAT, "config": self.network.config.as_dict(),
                "int8": self.network.int8, "norm_frozen": self.network.norm_frozen,
                "state": {k: v.detach().clone() for k, v in self.network.state_dict().items()}}

    def _begin(self, phase):
        """What a phase needs before its first step."""
        config = self.config
        if config.segments and self.segment_head is None:
            self.segment_head = copy.deepcopy(self.network.head)
        if phase == "int8":
            sample = self._sample(NORM_CLIPS)
            if not config.freeze_norm:
                self.network.measure_norm(sample)
                self.network.freeze_norm()
            self.network.start_int8(sample[:8])
        self.optimiser = _optimiser(self._modules(), config, config.rates[phase])

    def _modules(self):
        """All that learns."""
        return [self.network] + ([self.segment_head] if self.segment_head else [])

    def _loss(self, x):
        wanted = _teacher_map(self.teacher, x, self.config)
        given = _student_map(self.network, x, self.config)
        loss = self._distance(self.network.head, given, wanted)
        if self.segment_head:
            parts = self.config.segments
            loss = loss + SEGMENT_WEIGHT * self._distance(
                self.segment_head, _parts(given, parts), _parts(wanted, parts))
        return loss

    def _distance(self, head, given, wanted):
        """What the student's last maps ``given``, read by ``head``, and the teacher's differ in."""
        return self._error(_student_layers(self.network, head, given),
                           _teacher_layers(self.teacher, wanted))

    def _error(self, given, wanted):
        """The loss of the dense layers ``given``, the last of which is the score."""
        loss = F.mse_loss(given[-1], wanted[-1])
        for mine, its, spread in zip(given[:-1], wanted[:-1], self.spread[:-1], strict=True):
            loss = loss + self.config.hint * F.mse_loss(mine, its) / spread * self.spread[-1]
        return loss

    def _varied(self, clips, rng):
        """Windows with other starts and voices, where they are asked for."""
        if self.config.turn:
            clips = turned(clips, rng, self.config.turn)
        if self.config.warp:
            clips = warped(clips, rng, self.config.warp)
        return clips

    def one_epoch(self, tick):
        """Train one epoch; returns its line for the log. ``tick(done, total)`` after a step."""
        config, start = self.config, time.monotonic()
        phase, within = config.phase(self.epoch)
        if within == 0:
            self._begin(phase)
        rng = np.random.default_rng([config.seed, self.epoch])
        order = rng.permutation(len(self.train.labels))
        batch = config.batch if phase == "crop" else max(1, config.batch // 2)
        frames = {"crop": config.crop, "whole": CLIP_FRAMES}
        steps = math.ceil(len(order) / batch)
        length = steps * config.epochs[phase]
        total = 0.0
        self.network.train()
        for i in range(steps):
            rows = order[i * batch:(i + 1) * batch]
            clips = self._varied(self.train.features[rows], rng)
            if phase in frames:
                clips = random_crops(clips, frames[phase], rng)
            at = (within * steps + i) / length
            warm = min(1.0, (within * steps + i + 1) / (0.02 * length + 1))
            # Crops end at a third of their rate: the whole clips go on from there
            end = 0.3 if phase == "crop" else 0.02
            rate = config.rates[phase] * warm * (end + (1 - end) * 0.5 * (1 + math.cos(
                math.pi * at)))
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            loss = self._loss(tensor(augment(clips, rng, config.change)))
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
            self.optimiser.step()
            self.network.constrain()
            total += float(loss.detach()) * len(rows)
            tick(i + 1, steps)
        trained = time.monotonic() - start
        self.epoch += 1
        scores = predict(self.network, self.val.features)
        line = {"epoch": self.epoch, "phase": phase, "loss": round(total / len(order), 5),
                "val": agreement(scores, self.val.labels),
                "density": densities(self.network, self.val.features[:32]),
                "ms_per_clip": round(1000 * trained / len(order), 1)}
        self.seconds += time.monotonic() - start
        line["seconds"] = round(self.seconds, 1)
        return line


def densities(network, features):
    """Share of ones in every map, over some clips."""
    network.eval()
    with torch.no_grad():
        return [round(float(m.mean()), 4) for m in network.maps(tensor(features))]


def distil(config, out_dir, splits, data=None, progress=None):
    """Distil, or continue to, and test; returns the report that ``report.json`` holds.

    Parameters
    ----------
    config : :class:`DistilConfig`
    out_dir : folder of the run; a run that was interrupted there is continued
    splits : ``{"train": Clips, "val": Clips, "test": Clips}``
    data : plain values that say where the clips come from, kept in the model's metadata:
        ``clips``, ``data_seed``, ``speech_folder`` and ``data_recipe`` let ``bamac evaluate``
        find them again;
        without them no model card is written
    progress : an object with ``step(epoch, done, total)``, ``epoch(line, eta_seconds)`` and, for
        new count units, ``data(done, total, text)``; or None for silence

    Raises
    ------
    DistilError
        If the folder holds a run of another configuration, or the scores came out constant.
    """
    from bamac.evaluation.levels import evaluate_features
    from bamac.report.card import distilled_card

    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(config.threads)
    run = _Run(config, splits["train"], splits["val"], out, progress)
    run.resume()
    if config.compile:
        run.network.fuse()
    total = sum(config.epochs.values())
    log = out / "log.jsonl"
    if run.epoch == 0:
        log.unlink(missing_ok=True)
    while run.epoch < total:
        def tick(done, steps):
            if progress:
                progress.step(run.epoch + 1, done, steps)

        line = run.one_epoch(tick)
        with log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        run.save()
        if progress:
            progress.epoch(line, _remaining(config, run.epoch, line))
    network = restore_network(run._network_content())
    held_out = {}
    for split in ("val", "test"):
        clips = splits[split]
        held_out[split] = evaluate_features(network, clips.features, clips.labels, clips.entries)
    if held_out["val"]["all"]["pcc"] is None:
        raise DistilError("Training ended with a constant score; use more clips or epochs")
    metadata = {"front_end": P808_FRONT_END, "offset": 0.0, "steps": STEPS, "network": "p808",
                "label": "DNSMOS P.808", "variant": "bam-w8", "int8": True, "epoch": total,
                "training": {**config.decides(), **(data or {})}}
    save_network(out / "model.pt", network, metadata)
    report = {"model": "model.pt", "configuration": config.decides(), "epoch": total,
              "training_seconds": round(run.seconds, 1), "clips": len(splits["train"].labels),
              "data": data, "voices": sorted({e["voice"] for e in splits["train"].entries
                                              if "voice" in e}), **held_out}
    report["density"] = densities(network, splits["val"].features[:64])
    write_text(out / "report.json", json.dumps(report, indent=1) + "\n")
    if data:
        write_text(out / "card.md", distilled_card(out.name, report))
    return report


def _remaining(config, epoch, line):
    """Seconds left, if a clip costs what its frames do."""
    def cost(at):
        return {"crop": config.crop, "whole": CLIP_FRAMES,
                "int8": FRAMES}[config.phase(at)[0]] / FRAMES

    left = sum(cost(at) for at in range(epoch, sum(config.epochs.values())))
    return line["seconds"] * left / sum(cost(at) for at in range(epoch))


def report_text(report):
    """The report as a few lines for a terminal."""
    epochs = f"{report['epoch']} epoch{'s' * (report['epoch'] > 1)}"
    lines = [f"{epochs}, {report['training_seconds'] / 60:.0f} min of training "
             f"on {report['clips']} clips. Agreement with DNSMOS P.808:",
             "", *agreement_lines(report)]
    lines += ["", "Share of ones per activation map: "
              + ", ".join(f"{d:.1%}" for d in report["density"])]
    return "\n".join(lines) + "\n"
