"""Checkpoints: the weights as plain tensors and the metadata as plain values.

They are written under another name first and renamed, so that an interruption leaves the old one
or the new one, never half of one; and they are read with ``weights_only=True``, so that a file
from elsewhere cannot run code.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bamac.shipped import ASSETS, model_path

from .config import config_from_dict
from .network import Network

__all__ = ["CheckpointError", "DEFAULT_MODEL", "load_checkpoint", "load_network",
           "network_content", "restore_network", "save_checkpoint", "save_network"]

FORMAT = 1
DEFAULT_MODEL = ASSETS / "models" / "paper-bam-w8.pt"
"""The checkpoint that ships with the package; its model card stands beside it."""
RENAMED = {"turn": "circular_shift", "warp": "vtlp"}
"""Training options of stored metadata that have another name today."""


class CheckpointError(ValueError):
    """A file is not a checkpoint that this version reads."""


def save_checkpoint(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write a dictionary of tensors and plain values to ``path`` in one step."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".partial")
    torch.save(content, temporary)
    os.replace(temporary, path)


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read what :func:`save_checkpoint` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CheckpointError
        If it is no checkpoint, is damaged, or has another format.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; `bamac train` makes checkpoints")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        raise CheckpointError(f"{path} is not a checkpoint or is damaged; "
                              f"make it again with `bamac train`") from error
    if not isinstance(content, dict) or "format" not in content:
        raise CheckpointError(f"{path} is not a checkpoint of bamac; "
                              f"give a .pt file that `bamac train` wrote")
    if content["format"] != FORMAT:
        raise CheckpointError(f"{path} must have checkpoint format {FORMAT}, "
                              f"not {content['format']!r}")
    return content


def network_content(network: Network) -> dict[str, Any]:
    """A copy of all that makes the network, for :func:`save_checkpoint`."""
    state = {name: value.detach().cpu().contiguous().clone()
             for name, value in network.state_dict().items()}
    return {"format": FORMAT, "config": _plain(network.config.as_dict()), "int8": network.int8,
            "norm_frozen": network.norm_frozen, "state": state}


def save_network(path: str | Path, network: Network, metadata: Mapping[str, Any]) -> None:
    """Write a network alone (no optimiser), with ``metadata`` of plain values."""
    save_checkpoint(path, {**network_content(network), "metadata": _plain(metadata)})


def restore_network(content: Mapping[str, Any]) -> Network:
    """The network of :func:`network_content`, in evaluation mode."""
    network = Network(config_from_dict(content["config"]))
    network.load_state_dict(content["state"])
    if content["int8"]:
        network.set_int8()
    if content["norm_frozen"]:
        network.freeze_norm()
    return network.eval().to(memory_format=torch.channels_last)


def load_network(path: str | Path = DEFAULT_MODEL) -> tuple[Network, dict[str, Any]]:
    """``(network in evaluation mode, metadata)`` of a checkpoint; the shipped one by default.

    ``path`` may also be the name of a network that ships with the package. Training options in the
    metadata have today's names (:data:`RENAMED`).
    """
    content = load_checkpoint(model_path(path, (".pt",)))
    metadata = content["metadata"]
    if "training" in metadata:
        metadata["training"] = {RENAMED.get(name, name): value
                                for name, value in metadata["training"].items()}
    return restore_network(content), metadata


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"Metadata must be plain values, not {value!r}")
