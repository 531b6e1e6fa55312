"""Where the values of a network's layer stand in the layers that the array runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bamac.ir.checks import Array

__all__ = ["Counterpart"]


@dataclass(frozen=True, eq=False)
class Counterpart:
    """Native channels that hold a layer's values.

    Parameters
    ----------
    layer : name of the native layer
    kind : "bits" for a layer with a map before its pool, "outputs" for one with a vector; of no
        meaning without an index
    index : int array (channels, signals): a value is ``low + step * (sum of its signals)``; None
        if the native layer holds the same values
    low, step : see there
    """

    layer: str
    kind: str
    index: Array | None = None
    low: int = 0
    step: int = 1

    def values(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """The layer's arrays by kind, from the ``arrays`` that the native layer has in a trace."""
        if self.index is None:
            return dict(arrays)
        native = np.asarray(arrays["bits"] if "bits" in arrays else arrays["outputs"], np.int64)
        found: Array = self.low + self.step * native[self.index].sum(axis=1)
        if self.kind == "outputs":
            found = found.reshape(len(found))
        elif self.low >= 0:
            found = found.astype(np.uint8) if found.max(initial=0) < 256 else found
        return {self.kind: found}
