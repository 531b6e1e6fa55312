"""The front ends that turn audio into a network's integer frames, by name.

A network names the front end that it was trained with (:class:`bamac.ir.network.FrontEnd`). A
front end is one module that computes the frames and calls :func:`register`; one from outside this
package does the same before the first network that names it is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bamac.errors import InputError
from bamac.ir.network import FrontEnd
from bamac.registry import Registry

__all__ = ["FrontEndSpec", "get", "kinds", "register", "spec_for_input", "with_bits"]


@dataclass(frozen=True)
class FrontEndSpec:
    """One front end.

    Parameters
    ----------
    front_end : what a network that reads its frames names
    window : samples at 16 kHz that one score is computed from; shorter clips are repeated
    rows, cols : frames and mel bands of a window
    n_fft, hop : samples of a frame, and between the starts of two frames
    compute : float samples (window,) -> int8 (rows, cols), signed integers of ``bits`` bits
    bits : bits of the integers
    """

    front_end: FrontEnd
    window: int
    rows: int
    cols: int
    n_fft: int
    hop: int
    compute: Callable[[np.ndarray], np.ndarray]
    bits: int = 8

    @property
    def kind(self) -> str:
        """The name by which a network's file refers to the front end."""
        return self.front_end.kind


_SPECS = Registry("Front end", FrontEndSpec, "kind")


def register(spec: FrontEndSpec) -> FrontEndSpec:
    """Make a front end known by its kind; returns it. See :meth:`bamac.registry.Registry.add`.

    A form with fewer bits of a front end has the kind ``<kind>-<bits>bit``, by which
    :func:`with_bits` finds it.
    """
    return _SPECS.add(spec)


def get(kind: str) -> FrontEndSpec:
    """The front end of a kind; raises InputError if none of that name is registered."""
    return _SPECS.get(kind)


def kinds() -> list[str]:
    """Kinds of all front ends, in the order in which they were registered."""
    return _SPECS.names()


def with_bits(spec: FrontEndSpec, bits: int) -> FrontEndSpec:
    """The form of a front end whose integers have ``bits`` bits.

    Raises InputError if no such form is registered.
    """
    return spec if bits == spec.bits else get(f"{spec.kind}-{bits}bit")


def spec_for_input(name: str, front_end: FrontEnd, rows: int, cols: int) -> FrontEndSpec:
    """The registered front end of the network ``name``, whose input is ``rows`` x ``cols``.

    Raises
    ------
    InputError
        If the network names no front end, one that is not registered with these numbers, or if
        the front end's windows have another shape.
    """
    if front_end.kind is None:
        raise InputError(f"Network {name} reads integer frames and names no front end for audio; "
                         f"give it frames as an .npy file with 'bamac simulate'")
    spec = next((spec for spec in _SPECS.items() if spec.front_end == front_end), None)
    if spec is None:
        known = " or ".join(str(spec.front_end) for spec in _SPECS.items())
        raise InputError(f"Network {name} must have the front end {known}, not {front_end}")
    if (rows, cols) != (spec.rows, spec.cols):
        raise InputError(f"Network {name} must read windows of {spec.rows} x {spec.cols} for "
                         f"audio, not {rows} x {cols}")
    return spec
