"""What a task is: a record that names all that training, evaluation and reports ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bamac.data.labels import Label
from bamac.frontends.metadata import metadata_of
from bamac.frontends.registry import FrontEndSpec, with_bits

if TYPE_CHECKING:
    from bamac.nn.config import NetConfig

__all__ = ["DataSet", "Task"]

Metric = Callable[[np.ndarray, np.ndarray], float]
"""``metric(scores, labels)`` of float arrays (n,)."""


class DataSet(Protocol):
    """Where the clips of a task come from.

    :class:`bamac.data.degraded_speech.DegradedSpeech` is the one that the package has.
    """

    def sizes(self, clips: int) -> Mapping[str, int]:
        """Clips of ``train``, ``val`` and ``test`` for that many training clips."""

    def build(self, cache: str | Path, **options: Any) -> Path:
        """Make what is missing of the data set; return its folder."""

    def folder(self, training: Mapping[str, Any]) -> Path:
        """The folder that a run's clips are in, by ``metadata["training"]`` of its checkpoint."""

    def load(self, folder: str | Path, split: str, clips: int | None = None
             ) -> tuple[np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """``(features int8 (n, rows, cols), labels float64 (n,), manifest entries)`` of a split.

        ``clips`` limits their number to the first ones. Each entry has a list ``degradations``,
        which may be empty, and may have ``family``, ``voice`` and ``language``: results are given
        per group of these.
        """


@dataclass(frozen=True)
class Task:
    """What a network predicts, and all that follows from it.

    Parameters
    ----------
    name : in configurations and checkpoints
    title : what is predicted, of what, in words
    network : name of the network's shape (:func:`bamac.nn.config.make_config`), or a function
        that is called like it but without the name: ``network(variant, **changes) -> NetConfig``
    front_end : makes frames of audio, with integers of 8 bits
    label : what the network learns and is compared with
    data : the clips of training, validation and test
    metrics : measures of agreement by name, beyond PCC, SRCC and RMSE
    shape_title : whose shape the network has, for model cards
    about_label : sentences on who gives the label and what it does not say, for model cards
    """

    name: str
    title: str
    network: str | Callable[..., NetConfig]
    front_end: FrontEndSpec
    label: Label
    data: DataSet
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    shape_title: str = "A network"
    about_label: str = ""

    def net_config(self, variant: str = "bam-w8", **changes: Any) -> NetConfig:
        """The network's configuration in one of its variants.

        ``changes`` are fields of :class:`bamac.nn.config.NetConfig`.
        """
        if callable(self.network):
            return self.network(variant, **changes)
        from bamac.nn.config import make_config

        return make_config(self.network, variant, **changes)

    def metadata(self, input_bits: int = 8) -> dict[str, Any]:
        """What a checkpoint says of its task, as plain values.

        :func:`bamac.tasks.of_metadata` reads it. Raises InputError if the front end has no form
        with ``input_bits`` bits.
        """
        return {"task": self.name, "label": self.label.title,
                **metadata_of(with_bits(self.front_end, input_bits).front_end)}
