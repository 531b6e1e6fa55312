"""Supervised training on labelled clips: crops first, then whole clips on the integer grid.

Phase ``float``: random crops. The weights are float, or with ``int8_first`` those of the
convolutions are on their grid already. At its end batch norm's statistics are measured anew over
whole clips.

Phase ``fine``: batch norm is frozen, and whole clips are computed as hardware will: int8 weights
and the integer head (variants ``w8`` and ``bam-w8``), fewer input bits, fewer weight bits, pruned
weights. The network kept is the one with the best validation PCC of this phase; without epochs, the
one with which it would begin. Test clips are scored once, at the end.

A run may start from another run's network (``start``) and then does the second phase alone. Binary
maps may start from a trained ReLU network (``twin``, :mod:`bamac.training.warm_start`) instead of
at random, or train that one first, in the folder ``twin`` of the run (``twin_epochs``).

Besides the files of :mod:`bamac.training.loop`, the folder of a run holds ``float.pt`` (the network
after the first phase) and ``model.pt`` (the network).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bamac.evaluation.agreement import evaluate_scores, level_of
from bamac.evaluation.metrics import agreement, pcc
from bamac.nn.checkpoint import load_network, save_network
from bamac.nn.density import activation_density, input_densities, mean_tile_density
from bamac.nn.network import Network
from bamac.nn.predict import predict, tensor_of
from bamac.tasks import PESQ_TASK

from .config import CROP, TrainConfig
from .distributed import Workers
from .loop import Trained, Trainer, checkpoint_path
from .pesq_augmentation import augment
from .recipe import Progress, Recipe, TrainError, TrainingResult
from .schedule import Phase
from .warm_start import warm_start

__all__ = ["Supervised", "train"]

TWIN_CLIPS = 512
"""Training clips that a start from the twin is fitted on."""
NORM_CLIPS = 4800
"""Training clips that batch norm's statistics are measured on."""
SCALE_CLIPS = 640
"""Training clips that the head's integer scales are fixed on."""


class Supervised(Recipe):
    """The paper's network learns the labels of clips.

    Parameters
    ----------
    config : :class:`bamac.training.config.TrainConfig`
    train, val : ``(features, labels)``, int8 (n, frames, mels) and float64 (n,)
    folder : of the run, where ``float.pt`` is written
    workers : the processes of the run
    twin : ``float.pt`` of the full-precision run that a fresh network starts from, or None

    Raises
    ------
    TrainError
        If the network of ``config.start`` does not fit.
    """

    keep_best = True

    def __init__(self, config: TrainConfig, train: tuple[np.ndarray, np.ndarray],
                 val: tuple[np.ndarray, np.ndarray], folder: Path, workers: Workers,
                 twin: str | Path | None = None) -> None:
        self.config = config
        self.features, self.labels = train
        self.val_features, self.val_labels = val
        self.folder = folder
        self.workers = workers
        self.seed = config.seed
        self.clips = len(self.labels)
        self.phases = (
            Phase("float", config.first_epochs, config.batch, config.rate, cycles=config.cycles),
            Phase("fine", config.fine_epochs, config.batch, config.fine_rate))
        self._twin = twin
        self._masks: list[tuple[Tensor, Tensor]] = []
        self._start, self.first_phase = None, None
        if config.start:
            self._start, metadata = load_network(config.start)
            self.first_phase = metadata.get("training", {})
            if self._start.int8 or self._start.config.binary != config.net_config().binary:
                raise TrainError(f"{config.start} must hold a network of the same activations, "
                                 f"before int8 training: the float.pt of a run")

    def decides(self) -> dict[str, Any]:
        return self.config.decides()

    def start(self) -> None:
        self.network = Network(self.config.net_config())
        self.network.score_offset.fill_(round(float(self.labels.mean()), 4))
        if self._start:
            self.network.load_state_dict(self._start.state_dict())
        if self._twin:
            self._start_from_twin()
        self._place()

    def restore(self, network: Network, state: Mapping[str, Any], phase: Phase) -> None:
        self.network = network
        self._place()
        if phase.name == "fine":
            self._find_masks()

    def begin(self, phase: Phase) -> None:
        if phase.name == "float":
            return
        config = self.config
        if config.prune:
            self._prune()
        self._find_masks()
        self._measure_norm()
        self.network.freeze_norm()
        if config.variant.endswith("w8"):
            chosen = np.random.default_rng(config.seed).permutation(self.clips)[:SCALE_CLIPS]
            self.network.start_int8([self._tensor(self.features[np.sort(chosen[i:i + 32])])
                                     for i in range(0, len(chosen), 32)])

    def loss(self, phase: Phase, rows: np.ndarray, mine: np.ndarray,
             rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        config, fine = self.config, phase.name == "fine"
        x = self._tensor(augment(self.features[rows], rng, None if fine else CROP)[mine])
        y = torch.from_numpy(self.labels[rows][mine].astype(np.float32)).to(config.device)
        with torch.autocast(config.device, torch.bfloat16, enabled=config.bfloat16):
            maps = self.network.maps(x)
        # The head counts ones beyond 256, which bfloat16 cannot
        scores = self.network.score(maps[-1].float(), x.shape[2])
        error = nn.functional.mse_loss(scores[:, 0].float(), y)
        penalty = config.penalty(fine)
        loss = error + penalty * mean_tile_density(self.network, maps) if penalty else error
        return loss, error

    @torch.no_grad()
    def after_step(self) -> None:
        for weight, mask in self._masks:
            weight.mul_(mask)
        self.network.constrain()

    def end(self, phase: Phase, epoch: int) -> None:
        if phase.name == "float":
            self._measure_norm()
            if self.workers.first:
                save_network(self.folder / "float.pt", self.network,
                             self.metadata(epoch, self.network.int8))

    def validate(self) -> tuple[dict[str, Any], float]:
        scores = predict(self.network, self.val_features)
        return ({"val": agreement(scores, self.val_labels),
                 "density": activation_density(self.network, self.val_features[:64])},
                pcc(scores, self.val_labels))

    def metadata(self, epoch: int, int8: bool) -> dict[str, Any]:
        """Plain values for a checkpoint of the network after some epoch."""
        config = self.config
        return {**PESQ_TASK.metadata(config.input_bits), "network": config.network,
                "variant": config.variant, "training": config.decides(),
                "recipe": config.data_recipe, "epoch": epoch, "int8": int8}

    def _place(self) -> None:
        if self.config.int8_first and not self.network.int8:
            self.network.set_int8_convs()
        self.network.to(self.config.device).to(memory_format=torch.channels_last)

    def _tensor(self, features: np.ndarray) -> Tensor:
        return tensor_of(features, self.config.input_bits, self.config.device)

    def _start_from_twin(self) -> None:
        config = self.config
        twin, metadata = load_network(self._twin)
        if twin.config.variant != "fp32" or metadata.get("network", "paper") != config.network:
            raise TrainError(f"{self._twin} must hold the network of a run with --variant fp32 of "
                             f"the same shape, not {metadata.get('network', 'paper')} "
                             f"{twin.config.variant}")
        rng = np.random.default_rng([config.seed, 77])
        chosen = np.sort(rng.permutation(self.clips)[:TWIN_CLIPS])
        mine, its = ([tensor_of(self.features[chosen[i:i + 32]], bits)
                      for i in range(0, len(chosen), 32)]
                     for bits in (config.input_bits, twin.config.input_bits))
        density = NormalDist().cdf(self.network.config.start_bias)
        warm_start(self.network, twin.eval(), mine, density, config.seed, its)

    def _prunable(self) -> list[nn.Module]:
        """The convolutions and the hidden layers."""
        return [*self.network.convs, *list(self.network.head)[:-1]]

    @torch.no_grad()
    def _prune(self) -> None:
        """Set the smallest weights of each layer to zero."""
        for stage in self._prunable():
            count = int(self.config.prune * stage.weight.numel())
            if count:
                limit = stage.weight.abs().flatten().kthvalue(count).values
                stage.weight.mul_(stage.weight.abs() > limit)

    def _find_masks(self) -> None:
        if self.config.prune:
            self._masks = [(stage.weight, stage.weight.detach() != 0)
                           for stage in self._prunable()]

    def _measure_norm(self) -> None:
        """Measure batch norm's statistics over whole clips, in random batches as in training.

        Neighbours in the data set come from one recording and differ less than clips at random.
        """
        config = self.config
        rng = np.random.default_rng([config.seed, 78])
        chosen = rng.permutation(len(self.features))[:NORM_CLIPS]
        self.network.measure_norm(
            self._tensor(self.features[chosen[i:i + config.batch]])
            for i in range(0, max(1, len(chosen) - config.batch + 1), config.batch))


def train(config: TrainConfig, out_dir: str | Path,
          progress: Progress | None = None) -> TrainingResult | None:
    """Make the data set, train, and test.

    Parameters
    ----------
    config : :class:`bamac.training.config.TrainConfig`
    out_dir : folder of the run; a run that was interrupted there is continued
    progress : :class:`bamac.training.recipe.Progress`, or None for silence

    Returns
    -------
    :class:`bamac.training.recipe.TrainingResult`; None in all processes of ``torchrun`` but the
    first

    Raises
    ------
    TrainError
        If the folder holds another run, the start network or the twin does not fit, or every
        score is constant.
    """
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    twin, twin_result = config.twin, None
    if config.twin_epochs:
        twin = out / "twin" / "float.pt"
        twin_result = _train_twin(config, out, progress)
    torch.set_num_threads(config.threads)
    workers = Workers(config.device)
    if not workers.first:
        progress = None
    tell = progress.data if progress else None
    folder = _build(config, workers, tell, ("train", "val"))
    sizes = PESQ_TASK.data.sizes(config.clips)
    features, labels, entries = PESQ_TASK.data.load(folder, "train", sizes["train"])
    val_features, val_labels, _ = PESQ_TASK.data.load(folder, "val", sizes["val"])
    recipe = Supervised(config, (features, labels), (val_features, val_labels), out, workers, twin)
    trained = Trainer(recipe, out, workers, progress).run()
    folder = _build(config, workers, tell, tuple(sizes))
    result = None
    if workers.first:
        metadata = recipe.metadata(trained.epoch, trained.network.int8)
        save_network(out / "model.pt", trained.network, metadata)
        parts = {split: PESQ_TASK.data.load(folder, split, sizes[split])
                 for split in ("val", "test")}
        scores = {split: predict(trained.network, part[0]) for split, part in parts.items()}
        report = _report(recipe, trained, parts, scores, sorted({e["voice"] for e in entries}))
        result = TrainingResult(trained.network, metadata, report, scores["test"],
                                np.asarray(parts["test"][1]), twin_result)
    workers.wait()
    return result


def _build(config: TrainConfig, workers: Workers, tell: Callable[[int, int, str], None] | None,
           splits: tuple[str, ...]) -> Path:
    """The data set's folder; the first process makes it, the others wait for it."""
    folder = None
    for turn in (True, False):
        if workers.first == turn:
            folder = PESQ_TASK.data.build(
                config.cache, clips=config.clips, seed=config.data_seed, workers=config.workers,
                speech_folder=config.speech_folder, splits=splits, recipe=config.data_recipe,
                progress=tell)
        workers.wait()
    return folder


def _train_twin(config: TrainConfig, out: Path,
                progress: Progress | None) -> TrainingResult | None:
    """The run's own twin; once the run has begun it is only looked at, if it is still there."""
    folder = out / "twin"
    begun = checkpoint_path(out).exists()
    if begun and not checkpoint_path(folder).exists():
        return None
    if progress and not begun:
        progress.part(f"The full-precision twin, {config.twin_epochs} epochs:")
    result = train(config.twin_config(), folder, progress)
    if progress and not begun:
        progress.part(f"Binary maps from it, {config.all_epochs} epochs:")
    return result


def _report(recipe: Supervised, trained: Trained,
            parts: Mapping[str, tuple[np.ndarray, np.ndarray, list]],
            scores: Mapping[str, np.ndarray], voices: list[str]) -> dict[str, Any]:
    config, network = recipe.config, trained.network
    report = {"model": "model.pt", "configuration": config.decides(), "epoch": trained.epoch,
              "training_seconds": round(trained.seconds, 1), "voices": voices,
              "epochs": config.all_epochs}
    if config.start:
        report["first_phase"] = recipe.first_phase
    for split, (_, labels, manifest) in parts.items():
        report[split] = evaluate_scores(scores[split], labels, manifest, level_of(network))
    ones, tiles = input_densities(network, tensor_of(parts["test"][0][:200], config.input_bits))
    report["input_ones"] = [round(v, 5) for v in ones]
    report["input_unions"] = [round(v, 5) for v in tiles]
    report["density"] = activation_density(network, recipe.val_features[:64])
    return report
