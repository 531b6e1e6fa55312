"""What commands begin with: networks, programs with their networks, and frames.

Heavy packages are imported where they are used, so that a command pays only for what it does.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bamac import files
from bamac.errors import InputError
from bamac.frontends.registry import spec_for_input
from bamac.ir import reference
from bamac.ir.checks import Array
from bamac.ir.network import FrontEnd, GraphError, InputSpec, IntegerNetwork
from bamac.shipped import ASSETS, model_path
from bamac_hw.program import Program

if TYPE_CHECKING:
    from bamac.nn.network import Network

__all__ = ["NETWORK_FILE", "default_model", "demo_clips", "frames_of_clip", "frames_of_file",
           "integer_network", "load_model", "network_of", "save_program"]

NETWORK_FILE = "network.onnx"
"""The copy of its network in a program's folder."""


def default_model() -> Path:
    """Path of the model that ships with the package; the QONNX file, which needs no torch."""
    return ASSETS / "models" / "paper-bam-w8.onnx"


def demo_clips() -> list[Path]:
    """Paths of the demonstration clips that ship with the package."""
    return sorted((ASSETS / "clips").glob("*.wav"))


def load_model(path: str | Path | None = None) -> IntegerNetwork:
    """The integer network in a QONNX file (``.onnx``) or a checkpoint (``.pt``).

    Parameters
    ----------
    path : path or str, optional
        May also be the name of a network that ships with the package; None is the default model.

    Raises
    ------
    FileNotFoundError
        If there is neither such a file nor such a network.
    InputError
        If the file is of another kind.
    GraphError, bamac.nn.checkpoint.CheckpointError
        If the file holds something else, or a network outside the exact layers.
    """
    file = model_path(default_model() if path is None else path)
    if file.is_dir():
        raise InputError(f"Model must be an .onnx or .pt file, not the folder {file}")
    if file.suffix == ".onnx":
        from bamac.qonnx import importer

        return importer.load(file)
    if file.suffix == ".pt":
        from bamac.nn.checkpoint import load_network

        return integer_network(*load_network(file))
    raise InputError(f"Model must be an .onnx or .pt file, not {file}")


def integer_network(module: Network, metadata: Mapping[str, Any]) -> IntegerNetwork:
    """The integer network of a checkpoint's content, see :func:`bamac.nn.checkpoint.load_network`.

    One with ReLU maps (variant ``fp32`` or ``w8``) becomes a network with 8-bit maps, see
    :mod:`bamac.nn.post_training`; the ranges of its values are taken from the clips that ship with
    the package.
    """
    if module.config.binary:
        from bamac.nn.lowering import integerise

        return integerise(module, metadata)
    from bamac.frontends.metadata import front_end_of
    from bamac.nn.post_training import calibration_frames, integerise_int8_maps

    front_end = front_end_of(metadata)
    source = spec_for_input(module.config.name, front_end, module.config.rows, module.config.cols)
    return integerise_int8_maps(module, calibration_frames(source, demo_clips()), front_end)


def frames_of_clip(spec: InputSpec, name: str, front_end: FrontEnd, path: str | Path,
                   warn: Callable[[str], object] | None = None) -> tuple[Array, float]:
    """Integer windows (n, rows, cols) of an audio file for a network, and its length in seconds.

    Parameters
    ----------
    spec, name, front_end : the network's input, its name for messages, its front end
    path : audio file
    warn : callable, optional
        Called with a sentence if samples beyond full scale were clamped.

    Raises
    ------
    InputError
        If the network takes no audio.
    """
    source = spec_for_input(name, front_end, spec.rows, spec.cols)
    from bamac.frontends import audio, log_mel

    samples = audio.load_audio(path)
    windows = []
    for window in audio.windows(samples, source.window):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", log_mel.SaturationWarning)
            windows.append(source.compute(window))
        for entry in caught:
            if warn is not None:
                warn(str(entry.message))
    frames = np.stack(windows)
    for window in frames:
        reference.check_frames(spec, window)
    return frames, len(samples) / audio.SAMPLE_RATE


def frames_of_file(spec: InputSpec, path: str | Path) -> Array:
    """Integer windows (n, rows, cols) of an ``.npy`` file of (rows, cols) or (n, rows, cols).

    Raises
    ------
    InputError
        If the file is no array of integers of that shape within the network's input range.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"Input {path} does not exist; check the path")
    try:
        with path.open("rb") as file:
            frames = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError, TypeError, SyntaxError, MemoryError) as error:
        raise InputError(f"{path} is not an .npy file of integers, or is damaged "
                         f"({str(error).splitlines()[0]})") from error
    frames = frames[np.newaxis] if frames.ndim == 2 else frames
    if frames.ndim != 3 or frames.shape[0] < 1:
        raise InputError(f"{path}: frames must be {spec.rows} x {spec.cols}, or windows of that, "
                         f"not of shape {frames.shape}")
    try:
        return np.stack([reference.check_frames(spec, window) for window in frames])
    except GraphError as error:
        raise InputError(f"{path}: {error}") from error


def save_program(program: Program, network: IntegerNetwork, folder: str | Path) -> None:
    """Write the program's folder with a copy of its network, so that it can be checked anywhere.

    Raises
    ------
    InputError
        If ``folder`` exists and is not a program.
    """
    from bamac.qonnx import exporter

    folder = Path(folder)
    if folder.exists() and not (folder / "manifest.json").is_file():
        raise InputError(f"{folder} exists and is not a program, so it is not overwritten")
    if not folder.absolute().parent.is_dir():
        raise InputError(f"Output folder {folder.absolute().parent} does not exist")
    with files.new_folder(folder) as temporary:
        inner = temporary / "program"
        program.save(inner)
        for path in inner.iterdir():
            path.replace(temporary / path.name)
        inner.rmdir()
        try:
            exporter.export(network, temporary / NETWORK_FILE)
        except GraphError:
            # QONNX cannot hold it. The program is complete without; checking it needs --model
            pass


def network_of(folder: str | Path, program: Program,
               model: str | Path | None = None) -> IntegerNetwork:
    """The network that ``program`` was compiled from: its own copy, or the file ``model``.

    Raises
    ------
    InputError
        If it is another network.
    """
    copy = Path(folder) / NETWORK_FILE
    if model is None and not copy.is_file():
        raise InputError(f"Program {folder} holds no copy of its network; name it with --model")
    network = load_model(copy if model is None else model)
    if network.digest() != program.manifest["network"]["digest"]:
        source = f"Program {folder} is damaged: {NETWORK_FILE}" if model is None else \
            f"Model {model}"
        raise InputError(f"{source} is not the network that the program was compiled from")
    return network
