"""What the command line's tests share: a small network, and what a command printed."""

import json

import numpy as np

from bamac.frontends import log_mel as features
from bamac.ir.network import Conv2d, Dense, FrontEnd, InputSpec, IntegerNetwork
from bamac.shipped import shipped_models

NO_MODEL = ("Model {} does not exist; make one with 'bamac train', or name one that ships with "
            f"bamac: {', '.join(shipped_models())}")
FRONT_END = FrontEnd(features.FRONT_END, features.OFFSET, features.STEPS)


def small_network(rows=249, cols=120, front_end=FRONT_END, channels=5, kernel=3, stride=2,
                  pool=(2, 2), outputs=1):
    rng = np.random.default_rng(1)
    convs = [Conv2d("conv1", rng.integers(-127, 128, (channels, 1, kernel, kernel)),
                    rng.integers(-9000, 9000, channels), stride, pool=pool),
             Conv2d("conv2", rng.integers(-127, 128, (3, channels, 3, 3)), np.zeros(3, int), 2,
                    (1, 1, 1, 1), global_pool="sum")]
    denses = [Dense("dense1", rng.integers(-127, 128, (4, 3)), np.full(4, 200), "unsigned", 8, 6),
              Dense("dense2", rng.integers(-127, 128, (outputs, 4)), np.full(outputs, 3))]
    return IntegerNetwork("small-net", InputSpec(rows, cols), (*convs, *denses), 2.0**-8, 2.5,
                          front_end)


class Ran:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def json(self):
        assert self.out.count("\n") == 1
        return json.loads(self.out)


def refused(ran, message):
    """One sentence on stderr, nothing on stdout, exit code 2."""
    assert ran.err == f"error: {message}\n"
    assert (ran.code, ran.out) == (2, "")
