"""A compiled network: what the compiler hands to the hardware, as a folder of files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .abi.descriptors import (
    DESCRIPTOR_WORDS,
    FORMAT_VERSION,
    HEADER,
    layer_words,
    unpack_descriptor,
)
from .abi.frames import Arrangement, row_beats, stream_rows
from .geometry import Geometry, GeometryError

__all__ = ["Program", "ProgramError"]

_FILES = ("weights.bin", "descriptors.bin")


class ProgramError(ValueError):
    """A program that is damaged, of another format, or for another geometry."""


@dataclass(frozen=True, eq=False)
class Program:
    """Memory images for one geometry, and a manifest that describes them.

    Parameters
    ----------
    geometry : Geometry
    weights : int8 array (rows, channels)
        Rows of the weight store; start-value bytes are among them.
    descriptors : uint32 array
        Header and layer descriptors, 16 words each.
    manifest : dict
        Plain values: network, layer table, use of each memory. See ``docs/program.md``.
    """

    geometry: Geometry
    weights: npt.NDArray[np.int8]
    descriptors: npt.NDArray[np.uint32]
    manifest: dict[str, Any]

    def weight_words(self) -> list[int]:
        """Words of the weight store as integers, for the memory's init."""
        raw = self.weights.astype(np.int8).tobytes()
        step = self.geometry.channels * self.geometry.store_rows
        return [int.from_bytes(raw[k:k + step], "little") for k in range(0, len(raw), step)]

    @property
    def layers(self) -> list[dict[str, Any]]:
        """The manifest's layer table."""
        layers: list[dict[str, Any]] = self.manifest["layers"]
        return layers

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of a clip's frames: (rows, cols), or (channels, rows, cols) of several channels."""
        network = self.manifest["network"]
        shape = network["rows"], network["cols"]
        channels = network.get("channels", 1)
        return shape if channels == 1 else (channels, *shape)

    @property
    def arrangement(self) -> Arrangement | None:
        """How frames are arranged before they are sent; None if they stay as they are."""
        values = self.manifest["network"].get("arrangement")
        return None if values is None else Arrangement.from_dict(values)

    @property
    def sent_shape(self) -> tuple[int, int, int]:
        """(channels, rows, cols) of a clip as it is sent."""
        if self.arrangement is not None:
            return self.arrangement.shape
        *channels, rows, cols = self.frame_shape
        return channels[0] if channels else 1, rows, cols

    @property
    def row_beats(self) -> int:
        """Values that are sent for each row of :attr:`sent_shape`."""
        channels, _, cols = self.sent_shape
        return row_beats(channels, cols, self.geometry.tile_cols,
                         interleaved=self.geometry.interleaved)

    def arrange(self, frames: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Clips (clips, *frame_shape) as (clips, *sent_shape)."""
        values = np.asarray(frames, np.int64)
        arrangement = self.arrangement
        if arrangement is not None:
            return arrangement.apply(values)
        return values.reshape(len(values), *self.sent_shape)

    def stream(self, frames: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """The values of clips (clips, *frame_shape) as they are sent: (clips, rows, row_beats).

        :func:`bamac_hw.abi.frames.stream_rows` has the order.
        """
        return stream_rows(self.arrange(frames), self.geometry.tile_cols,
                           interleaved=self.geometry.interleaved)

    def _images(self) -> dict[str, bytes]:
        return {
            "weights.bin": self.weights.astype(np.int8).tobytes(),
            "descriptors.bin": self.descriptors.astype("<u4").tobytes(),
        }

    def save(self, folder: str | Path) -> Path:
        """Write the folder, whole or not at all; an existing program there is replaced.

        Raises
        ------
        ProgramError
            If ``folder`` exists and is not a program.
        """
        folder = Path(folder)
        if folder.exists() and not (folder / "manifest.json").is_file():
            raise ProgramError(f"{folder} exists and is not a program, so it is not overwritten")
        images = self._images()
        manifest = {
            "format": FORMAT_VERSION,
            "geometry": self.geometry.to_dict(),
            "geometry_digest": self.geometry.digest(),
            **self.manifest,
            "images": {name: {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
                       for name, raw in images.items()},
        }
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=folder.name + ".", dir=folder.parent))
        try:
            os.chmod(partial, 0o755)
            for name, raw in images.items():
                (partial / name).write_bytes(raw)
            (partial / "manifest.json").write_text(
                json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            (partial / "listing.txt").write_text(self.listing() + "\n", encoding="utf-8")
            if folder.exists():
                shutil.rmtree(folder)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Program:
        """Read a folder written by :meth:`save`.

        Raises
        ------
        FileNotFoundError
            If there is no program at ``folder``.
        ProgramError
            If it is damaged or of a newer format.
        """
        folder = Path(folder)
        if not (folder / "manifest.json").is_file():
            raise FileNotFoundError(
                f"No program at {folder}; make one with 'bamac compile MODEL.onnx -o {folder}'")
        damaged = f"Program {folder} has a damaged manifest"
        try:
            manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
            version = manifest.pop("format")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ProgramError(f"{damaged}: {error}") from None
        # Before anything else is looked at: another format may have other fields.
        if version != FORMAT_VERSION:
            raise ProgramError(
                f"Program {folder} has format {version}, this version reads {FORMAT_VERSION}; "
                f"compile the network again")
        try:
            digest = manifest.pop("geometry_digest")
            geometry = Geometry.from_dict(manifest.pop("geometry"))
            checksums = {name: manifest["images"][name]["sha256"] for name in _FILES}
            del manifest["images"]
            manifest["layers"], manifest["network"]
        except (ValueError, KeyError, TypeError, AttributeError, GeometryError) as error:
            raise ProgramError(f"{damaged}: {error}") from None
        if geometry.digest() != digest:
            raise ProgramError(f"{damaged}: its geometry has changed")
        raw: dict[str, bytes] = {}
        for name in _FILES:
            path = folder / name
            if not path.is_file():
                raise ProgramError(f"Program {folder} lacks {name}; compile the network again")
            raw[name] = path.read_bytes()
            if checksums[name] != hashlib.sha256(raw[name]).hexdigest():
                raise ProgramError(
                    f"Program {folder} is damaged: {name} does not match its checksum; "
                    f"compile the network again")
        weights = np.frombuffer(raw["weights.bin"], np.int8).reshape(-1, geometry.channels)
        descriptors = np.frombuffer(raw["descriptors.bin"], "<u4").astype(np.uint32)
        return cls(geometry, weights, descriptors, manifest)

    def listing(self) -> str:
        """Readable text: header, and every field of every layer's descriptor."""
        lines = [f"; network {self.manifest['network']['name']} on {self.geometry.name}, "
                 f"{len(self.weights)} weight rows of {self.geometry.channels} bytes"]
        words = self.descriptors.reshape(-1, DESCRIPTOR_WORDS)
        header = unpack_descriptor(HEADER, words[0].tolist())
        lines += ["", "header", *_columns(header)]
        for entry, layer in zip(words[1:], self.layers, strict=False):
            values = unpack_descriptor(layer_words(self.geometry), entry.tolist())
            lines += ["", f"layer {layer['index']} {layer['name']}", *_columns(values)]
        return "\n".join(lines)


def _columns(values: dict[str, int], per_line: int = 4) -> list[str]:
    cells = [f"{name} = {value}".ljust(26) for name, value in values.items()]
    return ["  " + "".join(cells[k:k + per_line]).rstrip()
            for k in range(0, len(cells), per_line)]
