"""A program on a board: load it, run clips, read what the hardware counted."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from bamac.errors import LinkError
from bamac_hw.abi.counters import COUNTER_SLOTS, COUNTERS
from bamac_hw.abi.descriptors import FORMAT_VERSION
from bamac_hw.abi.registers import (
    COUNTER_WINDOW,
    DESCRIPTOR_WINDOW,
    ID_VALUE,
    REGISTERS,
    Register,
)

__all__ = ["BoardRun", "Session"]

RUN, STOP = 1, 0


@dataclass(eq=False)
class BoardRun:
    """What a board gave for some windows.

    Parameters
    ----------
    outputs : int64 array (windows, outputs)
        Raw scores.
    counters : list of dict
        Per layer, every counter; empty dicts if the array has none.
    load_seconds, run_seconds : float
        Of loading, and from the first frame to the last score; measured here, on the host.
    """

    outputs: np.ndarray
    counters: list
    load_seconds: float
    run_seconds: float


class Session:
    """One program on the accelerator behind a link.

    Parameters
    ----------
    link : Link
    program : Program

    Raises
    ------
    LinkError
        If the hardware is another than the program was compiled for.
    """

    def __init__(self, link, program):
        self._link, self._program = link, program
        self._load_seconds = 0.0
        geometry = program.geometry
        found = link.read((Register.ID, Register.VERSION, Register.GEOMETRY), "the identity")
        identity, version, digest = found
        if identity != ID_VALUE:
            raise LinkError(f"Register ID must be {ID_VALUE:#x}, not {identity:#x}: this is no "
                            "accelerator of bamac")
        if version != FORMAT_VERSION:
            raise LinkError(f"The board's accelerator has format {version}, this version talks to "
                            f"{FORMAT_VERSION}; make its bitstream again with 'bamac synth "
                            "--board'")
        if digest != int(geometry.digest()[:8], 16):
            raise LinkError(
                f"The board's accelerator is not of array {geometry.name}{_named(digest)}; compile "
                "the network for the board's array, or make its bitstream for this one")

    def load(self, progress=None):
        """Load the program; ``progress`` is called with the number of bytes that were sent."""
        began = time.perf_counter()
        program = self._program
        link = self._link
        link.write_word(Register.CONTROL, STOP, what="the control register")
        link.write(DESCRIPTOR_WINDOW, program.descriptors.astype("<u4").tobytes(),
                   what="descriptors", progress=progress)
        link.write(program.geometry.weight_window,
                   np.ascontiguousarray(program.weights, np.int8).tobytes(),
                   what="weights", progress=progress)
        self._load_seconds = time.perf_counter() - began

    @property
    def load_bytes(self):
        """What :meth:`load` sends."""
        return self._program.descriptors.size * 4 + self._program.weights.size

    def run(self, frames, progress=None):
        """Score windows of frames, one after the other.

        A window's scores are awaited before the next one is begun: the board's bridge cannot send
        them while it waits for room for a value.

        Parameters
        ----------
        frames : int array (windows, rows, cols), or (windows, channels, rows, cols)
        progress : callable, optional
            Called with the number of rows that were sent.

        Returns
        -------
        BoardRun

        Raises
        ------
        LinkError
            If the link fails, or the hardware reports an error of its own.
        """
        link, network = self._link, self._program.manifest["network"]
        outputs = []
        link.write_word(Register.CONTROL, RUN, what="the control register")
        began = time.perf_counter()
        for window in self._program.stream(frames) & 0xFF:
            for number, row in enumerate(window):
                link.send_frame(row.astype(np.uint8).tobytes(), f"frame {number}")
                if progress:
                    progress(1)
            link.finish()
            outputs.append(link.scores(network["outputs"]))
        seconds = time.perf_counter() - began
        link.write_word(Register.CONTROL, STOP, what="the control register")
        self._check(len(outputs))
        return BoardRun(np.array(outputs, np.int64), self._counters(), self._load_seconds, seconds)

    def _check(self, windows):
        """What holds after every run."""
        errors, clips, status = self._link.read((Register.ERROR, Register.CLIPS, Register.STATUS))
        if errors:
            bits = [text for k, (_, text) in enumerate(REGISTERS[Register.ERROR][2])
                    if errors >> k & 1]
            raise LinkError(f"The accelerator reports an error: {', '.join(bits)}")
        if clips != windows:
            raise LinkError(f"The accelerator scored {clips} clips, not {windows}")
        if status or self._link.scores_waiting:
            raise LinkError(f"The accelerator must be at rest after the run, not in state "
                            f"{status:#x}")

    def _counters(self):
        layers = len(self._program.layers)
        if not self._program.geometry.counters:
            return [{} for _ in range(layers)]
        addresses = [COUNTER_WINDOW + 4 * (layer * COUNTER_SLOTS + k)
                     for layer in range(layers) for k in range(len(COUNTERS))]
        words = iter(self._link.read(addresses, "the counters"))
        return [{name: next(words) for name in COUNTERS} for _ in range(layers)]


def _named(digest):
    """Which preset a geometry digest is of, for a message."""
    from bamac_hw.geometry import Geometry

    for name, geometry in Geometry.presets().items():
        if int(geometry.digest()[:8], 16) == digest:
            return f" but of {name}"
    return f" (its geometry digest begins with {digest:08x})"
