"""Distillation: a P.808-shaped network with binary maps learns to score as DNSMOS P.808 does.

The teacher is the released network (:mod:`bamac.training.dnsmos_start`), asked again for every clip
of every step: so clips can be cut and changed (:mod:`bamac.training.dnsmos_augmentation`) and still
have an exact label. The student starts as a fit of that network, or as another run left it
(:mod:`bamac.training.student`). Loss: squared error of the score, plus ``hint`` times the error of
the two hidden dense layers, which have the teacher's shape. With ``segments`` the last maps of
teacher and student are also cut along time, and each part is scored, by a head of its own: a float
copy of the student's that learns beside it and is then thrown away, since a maximum depends on the
length of what it is taken over.

Three phases. ``crop``: random crops, float weights. ``whole``: crops that hold all of a 5 s clip,
float weights. ``int8``: whole windows on the integer grid, with the head's scales fixed. Batch
norm's statistics are measured over training clips before the last phase and frozen, or are those of
the start throughout (``freeze_norm``). Popcounts of a crop are scaled up by the ratio of the areas.
The network after the last epoch is the result. Validation clips are whole and unchanged; test clips
are scored once, at the end.

Besides the files of :mod:`bamac.training.loop`, the folder of a run holds ``model.pt`` (the
network).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bamac.evaluation.agreement import evaluate_scores, level_of
from bamac.evaluation.metrics import agreement
from bamac.frontends.dnsmos import FRAMES, MELS
from bamac.nn.checkpoint import save_network
from bamac.nn.density import activation_density
from bamac.nn.network import Network
from bamac.nn.predict import predict, tensor_of
from bamac.tasks import P808_TASK

from .config import DistilConfig
from .distillation_loss import DistillationLoss
from .dnsmos_augmentation import CLIP_FRAMES, augment, circular_shift, random_crops, vtlp
from .dnsmos_start import released_network
from .loop import Trainer
from .recipe import Progress, Recipe, TrainError, TrainingResult
from .schedule import Phase
from .student import start_student, whole_clips

__all__ = ["Clips", "Distillation", "distil"]

NORM_CLIPS = 1024
"""Training clips that batch norm's statistics are measured on."""
SCALE_BATCHES = 8
"""Batches of these that the head's integer scales are fixed on."""
SPREAD_CLIPS = 256
"""Training clips that the variances of the teacher's layers are taken from."""
BATCH = 16
"""Windows that are scored at once."""


@dataclass(frozen=True)
class Clips:
    """Clips of one split: int8 features (n, 900, 120), DNSMOS scores (n,), manifest entries.

    Raises
    ------
    TrainError
        If the features have another shape, or not a label each.
    """

    features: np.ndarray
    labels: np.ndarray
    entries: list

    def __post_init__(self) -> None:
        shape = np.shape(self.features)
        if len(shape) != 3 or shape[1:] != (FRAMES, MELS) or shape[0] != len(self.labels):
            raise TrainError(f"Features must be (n, {FRAMES}, {MELS}) with a label each, "
                             f"not {shape} and {len(self.labels)} labels")


class Distillation(Recipe):
    """A network of the P.808 shape learns the scores of the released one.

    Parameters
    ----------
    config : :class:`bamac.training.config.DistilConfig`
    train, val : :class:`Clips`
    progress : shows what a start with new count units takes, or None
    """

    keep_best = False

    def __init__(self, config: DistilConfig, train: Clips, val: Clips,
                 progress: Progress | None = None) -> None:
        self.config, self.train, self.val = config, train, val
        self.segment_head: nn.ModuleList | None = None
        self.seed = config.seed
        self.clips = len(train.labels)
        self._progress = progress
        half = max(1, config.batch // 2)
        first = 0
        phases = []
        # Crops end at three tenths of their rate, since the whole clips go on from there
        for name, batch, end, frames in (("crop", config.batch, 0.3, config.crop),
                                         ("whole", half, 0.02, CLIP_FRAMES),
                                         ("int8", half, 0.02, FRAMES)):
            phases.append(Phase(name, config.epochs[name], batch, config.rates[name], end,
                                first_seed=first, cost=frames / FRAMES))
            first += config.epochs[name]
        self.phases = tuple(phases)
        self.criterion = DistillationLoss(released_network(), config,
                                      whole_clips(train.features, SPREAD_CLIPS, config.seed))

    def decides(self) -> dict[str, Any]:
        return self.config.decides()

    def start(self) -> None:
        mean_label = round(float(self.train.labels.mean()), 4)
        self.network = start_student(self.config, self.train.features, mean_label, self.criterion,
                                     self._changed, self._progress)
        if self.config.freeze_norm:
            self.network.freeze_norm()
        self._compile()

    def restore(self, network: Network, state: Mapping[str, Any], phase: Phase) -> None:
        self.network = network
        if state["segment_head"]:
            self.segment_head = Network(network.config).head
            self.segment_head.load_state_dict(state["segment_head"])
        self._compile()

    def state(self) -> dict[str, Any]:
        return {"segment_head": self.segment_head and self.segment_head.state_dict()}

    def begin(self, phase: Phase) -> None:
        config = self.config
        if config.segments and self.segment_head is None:
            self.segment_head = copy.deepcopy(self.network.head)
        if phase.name == "int8":
            sample = whole_clips(self.train.features, NORM_CLIPS, config.seed)
            if not config.freeze_norm:
                self.network.measure_norm(sample)
                self.network.freeze_norm()
            self.network.start_int8(sample[:SCALE_BATCHES])

    def learners(self) -> list[nn.Module]:
        return [self.network] + ([self.segment_head] if self.segment_head else [])

    def loss(self, phase: Phase, rows: np.ndarray, mine: np.ndarray,
             rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        frames = {"crop": self.config.crop, "whole": CLIP_FRAMES}.get(phase.name)
        clips = self._changed(self.train.features[rows], rng, frames)
        loss = self.criterion(self.network, self.segment_head, tensor_of(clips[mine]))
        return loss, loss

    def validate(self) -> tuple[dict[str, Any], float]:
        scores = predict(self.network, self.val.features, BATCH)
        found = agreement(scores, self.val.labels)
        score = math.nan if found["pcc"] is None else found["pcc"]
        return {"val": found,
                "density": activation_density(self.network, self.val.features[:32])}, score

    def _changed(self, clips: np.ndarray, rng: np.random.Generator,
                 frames: int | None = None) -> np.ndarray:
        """Clips with other starts and voices, where they are asked for, cut, and degraded."""
        config = self.config
        if config.circular_shift:
            clips = circular_shift(clips, rng, config.circular_shift)
        if config.vtlp:
            clips = vtlp(clips, rng, config.vtlp)
        if frames:
            clips = random_crops(clips, frames, rng)
        return augment(clips, rng, config.change)

    def _compile(self) -> None:
        if self.config.compile:
            self.network.fuse()


def distil(config: DistilConfig, out_dir: str | Path, splits: Mapping[str, Clips],
           data: Mapping[str, Any] | None = None,
           progress: Progress | None = None) -> TrainingResult | None:
    """Distil, or continue to, and test.

    Parameters
    ----------
    config : :class:`bamac.training.config.DistilConfig`
    out_dir : folder of the run; a run that was interrupted there is continued
    splits : ``{"train": Clips, "val": Clips, "test": Clips}``
    data : plain values that say where the clips come from, kept in the model's metadata:
        ``clips``, ``data_seed``, ``speech_folder`` and ``data_recipe`` let ``bamac evaluate``
        find them again
    progress : :class:`bamac.training.recipe.Progress`, or None for silence

    Returns
    -------
    :class:`bamac.training.recipe.TrainingResult`; None in all processes of ``torchrun`` but the
    first

    Raises
    ------
    TrainError
        If the folder holds a run of another configuration, the start does not fit, or the scores
        came out constant.
    """
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(config.threads)
    recipe = Distillation(config, splits["train"], splits["val"], progress)
    trainer = Trainer(recipe, out, progress=progress)
    trained = trainer.run()
    if not trainer.workers.first:
        return None
    scores = {split: predict(trained.network, splits[split].features, BATCH)
              for split in ("val", "test")}
    held_out = {split: evaluate_scores(found, splits[split].labels, splits[split].entries,
                                       level_of(trained.network))
                for split, found in scores.items()}
    if held_out["val"]["all"]["pcc"] is None:
        raise TrainError("Training ended with a constant score; use more clips or epochs")
    metadata = {**P808_TASK.metadata(), "network": P808_TASK.network, "variant": "bam-w8",
                "int8": True, "epoch": trained.epoch,
                "training": {**config.decides(), **(data or {})}}
    save_network(out / "model.pt", trained.network, metadata)
    report = {"model": "model.pt", "configuration": config.decides(), "epoch": trained.epoch,
              "training_seconds": round(trained.seconds, 1), "clips": recipe.clips,
              "data": data and dict(data),
              "voices": sorted({e["voice"] for e in splits["train"].entries if "voice" in e}),
              **held_out}
    report["density"] = activation_density(trained.network, splits["val"].features[:64])
    return TrainingResult(trained.network, metadata, report, scores["test"],
                          np.asarray(splits["test"].labels))
