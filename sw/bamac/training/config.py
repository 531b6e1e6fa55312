"""Configurations of training runs: what decides their result."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bamac.data import recipes
from bamac.data.dataset import DEFAULT_CACHE
from bamac.frontends.dnsmos import FRAMES
from bamac.nn.config import VARIANTS, NetConfig, make_config, with_thresholds

from .dnsmos_augmentation import CLIP_FRAMES
from .recipe import TrainError

__all__ = ["CROP", "DistilConfig", "TrainConfig", "numbers"]

CROP = 160
"""Frames of the crops of the paper's network, of the 249 of a clip."""


RETIRED = {"crop": CROP, "weight_decay": 1e-3, "global_pool": "sum", "beta": 2.0, "colour": 0.0}
"""Options of stored configurations that every run has at this value today."""


def numbers(values: Iterable[float]) -> str:
    """Numbers as an option takes them."""
    return ",".join(map(str, values))


@dataclass(frozen=True)
class TrainConfig:
    """What decides a supervised run; the same values give the same network on the same machine.

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
    batch : clips per step
    rate, fine_rate : peak learning rate of each phase
    bfloat16 : whether training computes its convolutions in bfloat16; evaluation never does
    start_bias : start of batch norm's bias, which sets the activation density; None for the
        default. With ``twin`` each channel starts with just that density, Phi(start_bias)
    union_penalty : weight of the mean tile density in the loss
        (:func:`bamac.nn.density.mean_tile_density`)
    fine_union_penalty : the same in the second phase; None for ``union_penalty``
    input_bits : bits of the input; below 8 the features are rounded
    weight_bits : bits of every convolution's weights, () for 8 everywhere
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

    Raises
    ------
    TypeError, ValueError
        If a value is of another type or out of its range.
    TrainError
        If values contradict each other.
    """

    network: str = "paper"
    variant: str = "bam-w8"
    clips: int = 14_400
    epochs: int = 16
    cycles: int = 1
    fine_epochs: int = 3
    batch: int = 16
    rate: float = 3e-3
    fine_rate: float = 5e-4
    bfloat16: bool = True
    start_bias: float | None = None
    union_penalty: float = 0.0
    fine_union_penalty: float | None = None
    input_bits: int = 8
    weight_bits: tuple[int, ...] = ()
    prune: float = 0.0
    int8_first: bool = False
    start: str | None = None
    twin: str | None = None
    twin_epochs: int = 0
    seed: int = 1
    data_seed: int = 1
    data_recipe: int = recipes.DEFAULT.number
    threads: int = 1
    device: str = "cpu"
    workers: int = 2
    cache: str = str(DEFAULT_CACHE)
    speech_folder: str | None = None

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise ValueError(f"Variant must be one of {', '.join(VARIANTS)}, not {self.variant!r}")
        if self.network != "paper":
            raise TrainError(f"Network must be 'paper' to train on 5 s clips, "
                             f"not {self.network!r}")
        for name in ("clips", "epochs", "cycles", "batch", "threads", "workers"):
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
        if not recipes.get(self.data_recipe).has_pesq:
            raise TrainError(f"Data recipe {self.data_recipe} has no PESQ to learn: give another, "
                             f"or learn DNSMOS P.808 with `bamac distil`")
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
        self.net_config()

    @classmethod
    def from_stored(cls, values: Mapping[str, Any]) -> TrainConfig:
        """The configuration that :meth:`decides` gave, also that of a run with retired options.

        Raises
        ------
        TrainError
            If a retired option had another value than runs have today.
        """
        for name, value in RETIRED.items():
            if values.get(name, value) != value:
                raise TrainError(f"{name} must be {value!r}, as in every run of today, "
                                 f"not {values[name]!r}")
        return cls(**{name: value for name, value in values.items() if name not in RETIRED})

    def net_config(self) -> NetConfig:
        """The network's configuration; raises ValueError for values that no network has."""
        changes = {"input_bits": self.input_bits, "weight_bits": tuple(self.weight_bits)}
        if self.start_bias is not None:
            changes["start_bias"] = self.start_bias
        return make_config(self.network, self.variant, **changes)

    @property
    def from_twin(self) -> bool:
        """Whether binary maps start from a ReLU network."""
        return bool(self.twin or self.twin_epochs)

    def twin_config(self) -> TrainConfig:
        """The run that trains the twin: full precision, the first phase alone."""
        return TrainConfig(
            variant="fp32", epochs=self.twin_epochs, fine_epochs=0,
            **{name: getattr(self, name) for name in (
                "network", "clips", "batch", "bfloat16", "seed", "data_seed", "data_recipe",
                "threads", "device", "workers", "cache", "speech_folder")})

    @property
    def first_epochs(self) -> int:
        """Epochs of the first phase."""
        return 0 if self.start else self.epochs

    @property
    def all_epochs(self) -> int:
        """Epochs of both phases."""
        return self.first_epochs + self.fine_epochs

    def penalty(self, fine: bool) -> float:
        """Weight of the tile density in a phase."""
        own = self.fine_union_penalty if fine else None
        return self.union_penalty if own is None else own

    def decides(self) -> dict[str, Any]:
        """The values that decide the result, without those that only say how it is computed."""
        values = dataclasses.asdict(self)
        for name in ("threads", "workers", "cache", "device"):
            del values[name]
        values["weight_bits"] = list(values["weight_bits"])
        return values


@dataclass(frozen=True)
class DistilConfig:
    """What decides a distillation; the same values give the same network on the same machine.

    Parameters
    ----------
    crop_epochs, whole_epochs, int8_epochs : epochs of each phase
    crop : frames of a crop in the first phase (10 ms each)
    batch : clips per step; the other phases use half of it
    rate, whole_rate, int8_rate : peak learning rate of each phase
    freeze_norm : keep batch norm's statistics as the warm start set them (its gain and bias still
        learn), or use those of each batch until the int8 phase
    hint : weight of the hidden layers' error in the loss
    levels : thresholds per kernel of the last map at the start; its channels are this many times 64
    thresholds : thresholds per kernel of each map before the last, which share its weights; the
        map's channels are this many times 32
    count_caps : ends of the saturating units that the head reads in place of the popcounts, in
        means of each channel's popcount (:mod:`bamac.nn.count_units`); none by default
    segments : parts of equal length along time that are scored too, 0 for none
    change : share of the clips that are changed before the teacher is asked
    circular_shift : share of the clips whose window starts elsewhere in the repeated clip
    vtlp : share of the clips with another tempo and vocal tract length, starting anywhere; both are
        for clips of 5 s, and come before ``change``
    beta : width parameter of the surrogate gradient
    start : ``model.pt`` of another run to go on from, in place of the fit of the released network
    seed : of everything random
    bf16 : compute convolutions of training and the teacher in bfloat16
    compile : where batch norm is frozen, compile the gradient of pool and step
        (:mod:`bamac.nn.fused`); it is rounded in other places then
    threads : of PyTorch

    Raises
    ------
    TypeError, ValueError
        If a value is of another type or out of its range.
    TrainError
        If there are more segments than rows.
    """

    crop_epochs: int = 8
    whole_epochs: int = 0
    int8_epochs: int = 2
    crop: int = 500
    batch: int = 32
    rate: float = 1e-3
    whole_rate: float = 5e-4
    int8_rate: float = 3e-4
    freeze_norm: bool = False
    hint: float = 0.1
    levels: int = 1
    thresholds: tuple[int, ...] = (1, 1, 1, 1)
    count_caps: tuple[float, ...] = ()
    segments: int = 0
    change: float = 0.5
    circular_shift: float = 0.0
    vtlp: float = 0.0
    beta: float = 2.0
    start: str | None = None
    seed: int = 1
    bf16: bool = True
    compile: bool = False
    threads: int = 1

    def __post_init__(self) -> None:
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
                             f"the last, not {numbers(self.thresholds)}")
        object.__setattr__(self, "count_caps", tuple(self.count_caps))
        if not all(cap > 0 for cap in self.count_caps):
            raise ValueError(f"count_caps must be positive numbers, not "
                             f"{numbers(self.count_caps)}")
        if not 8 <= self.crop <= FRAMES:
            raise ValueError(f"crop must be in 8..{FRAMES} frames, not {self.crop}")
        for frames, epochs in ((self.crop, self.crop_epochs), (CLIP_FRAMES, self.whole_epochs)):
            rows = self.network().map_shape(frames)[0]
            if epochs and self.segments > rows:
                raise TrainError(f"segments must be at most the {rows} rows of the last map of "
                                  f"{frames} frames, not {self.segments}")
        for name in ("change", "circular_shift", "vtlp"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in 0..1, not {getattr(self, name)!r}")

    @property
    def epochs(self) -> dict[str, int]:
        """Epochs of each phase, in order."""
        return {"crop": self.crop_epochs, "whole": self.whole_epochs, "int8": self.int8_epochs}

    @property
    def rates(self) -> dict[str, float]:
        """Peak learning rate of each phase."""
        return {"crop": self.rate, "whole": self.whole_rate, "int8": self.int8_rate}

    def network(self) -> NetConfig:
        """The student's configuration."""
        one = make_config("p808", "bam-w8", beta=self.beta)
        last = one.convs[-1]
        last = dataclasses.replace(last, out_channels=last.out_channels * self.levels)
        return with_thresholds(dataclasses.replace(one, convs=(*one.convs[:-1], last),
                                                   count_units=len(self.count_caps)),
                               (*self.thresholds, 1))

    def decides(self) -> dict[str, Any]:
        """The values that decide the result, without those that only say how it is computed."""
        values = dataclasses.asdict(self)
        del values["threads"]
        values |= {name: list(values[name]) for name in ("thresholds", "count_caps")}
        return values
