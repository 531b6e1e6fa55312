"""A layer type from outside the package: a convolution of one pixel."""

from dataclasses import dataclass

import numpy as np

from bamac.compiler import lowering
from bamac.ir.layer import Layer, TensorSpec
from bamac.ir.network import Conv2d, Dense, InputSpec, IntegerNetwork
from bamac.ir.reference import ConvTrace


@dataclass(frozen=True, eq=False)
class Pointwise(Layer):
    """Convolution of one pixel with weights (out_channels, in_channels)."""

    name: str
    weights: np.ndarray
    thresholds: np.ndarray

    kind = "pointwise"
    reads_map = True

    @property
    def in_channels(self):
        return self.weights.shape[1]

    @property
    def out_channels(self):
        return self.weights.shape[0]

    def output(self, before):
        return TensorSpec((self.out_channels, before.rows, before.cols), 0, 1)

    def run(self, activations, before, *, keep_acc=False):
        acc = np.einsum("oi,irc->orc", self.weights, activations.astype(np.int64))
        bits = (acc >= self.thresholds[:, None, None]).astype(np.uint8)
        return ConvTrace(self.name, bits, bits, None, acc if keep_acc else None)


@lowering(Pointwise)
def _(layer, before):
    return Conv2d(layer.name, layer.weights[:, :, None, None], layer.thresholds)


def network(seed=3):
    """``(network, frames)`` with a :class:`Pointwise` between two convolutions."""
    rng = np.random.default_rng(seed)
    weights = rng.integers(-127, 128, (6, 5))
    made = IntegerNetwork("toy", InputSpec(9, 10), (
        Conv2d("first", rng.integers(-127, 128, (5, 1, 3, 3)), rng.integers(-3000, 3000, 5),
               padding=(1, 1, 1, 1)),
        Pointwise("mix", weights, weights.sum(axis=1) // 2),
        Conv2d("last", rng.integers(-127, 128, (4, 6, 3, 3)), np.zeros(4, int), global_pool="max"),
        Dense("score", rng.integers(-127, 128, (1, 4)), np.array([7]))))
    return made, rng.integers(-128, 128, (1, 9, 10))
