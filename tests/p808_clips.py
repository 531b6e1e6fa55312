"""Clips and networks of the P.808 shape for the tests of distillation."""

import functools
from pathlib import Path

import numpy as np
import torch

import bamac
from bamac.frontends.audio import load_audio
from bamac.frontends.dnsmos import P808_FRONT_END, STEPS, features_p808_int8
from bamac.nn.config import make_config
from bamac.nn.network import Network
from bamac.nn.predict import predict, tensor_of
from bamac.training.distillation import Clips
from bamac.training.dnsmos_start import released_network
from bamac.training.warm_start import warm_start

CLIPS = sorted((Path(bamac.__file__).parent / "assets" / "clips").glob("*.wav"))
METADATA = {"front_end": P808_FRONT_END, "offset": 0.0, "steps": STEPS, "network": "p808"}


@functools.cache
def demo_features():
    """int8 features (4, 900, 120) of the demonstration clips."""
    return np.stack([features_p808_int8(load_audio(path)) for path in CLIPS])


def untrained(config=None):
    """A warm-started network with float weights."""
    torch.manual_seed(0)
    network = Network(config or make_config("p808"))
    warm_start(network, released_network(), [tensor_of(demo_features())])
    return network.eval()


@functools.cache
def int8_network():
    """A warm-started network with int8 weights, without training."""
    network = untrained()
    network.freeze_norm()
    network.start_int8([tensor_of(demo_features())])
    return network.eval()


@functools.cache
def _made_up_splits():
    teacher = released_network()

    def made(count, seed):
        rng = np.random.default_rng(seed)
        tilt = rng.uniform(-60, 60, (count, 1, 1)) * np.linspace(-1, 1, 120)
        x = np.clip(rng.normal(tilt, rng.uniform(5, 40, (count, 1, 1)), (count, 900, 120)),
                    -127, 127).astype(np.int8)
        return Clips(x, predict(teacher, x), [{"degradations": []}] * count)

    return {"train": made(8, 1), "val": made(4, 2), "test": made(4, 3)}


def made_up_splits():
    """Made-up clips: noise whose colour and steadiness differ. The dict is the caller's own."""
    return dict(_made_up_splits())
