"""How a network's agreement with PESQ holds when recordings sound brighter, duller, or rumble.

``python -m benchmarks.colour MODEL.pt ...`` scores the test clips as they are, with a smooth gain
over frequency, drawn anew for each clip, of 1.5 and 3 dB (standard deviation at seven points), and
with rumble below 60 Hz. PESQ hardly hears either. It writes ``reports/colour.md``.
"""

import argparse
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from bamac.checkpoint import DEFAULT_MODEL, load_network
from bamac.data import build as data_build
from bamac.metrics import agreement
from bamac.train import add_rumble, coloured_gain, predict, shifted

REPORT = Path(__file__).parents[1] / "reports" / "colour.md"
COLOURS = (0.0, 1.5, 3.0)


def coloured(features, colour, seed=1):
    """The features int8 (n, frames, 120), each clip with a gain of its own."""
    if not colour:
        return features
    rng = np.random.default_rng(seed)
    return np.stack([shifted(clip, coloured_gain(rng, colour)) for clip in features])


def rumbling(features, seed=1):
    """The features with a rumble in every clip."""
    rng = np.random.default_rng(seed)
    return np.stack([add_rumble(clip, rng) for clip in features])


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.colour", description=__doc__)
    parser.add_argument("models", nargs="*", type=Path, default=[Path(DEFAULT_MODEL)])
    arguments = parser.parse_args()
    lines = ["# Colour", "",
             f"Made by `python -m benchmarks.colour` on {time.strftime('%Y-%m-%d')} with bamac "
             f"{version('bamac')}, torch {version('torch')}. Test clips of [data.md](data.md), "
             "with a smooth random gain over frequency (its standard deviation at seven points) or "
             "with rumble below 60 Hz. References of the data set all have one long-term spectrum "
             "and no rumble; recordings of users do not.", "",
             "| model | trained with | " + " | ".join(f"{c:g} dB: PCC | RMSE" for c in COLOURS)
             + " | rumble: PCC | RMSE |", "|---" * (4 + 2 * len(COLOURS)) + "|"]
    for path in arguments.models:
        network, metadata = load_network(path)
        training = metadata["training"]
        folder = data_build.set_folder(data_build.DEFAULT_CACHE, training["data_seed"])
        features, labels, _ = data_build.load_split(folder, "test")
        cells = []
        for changed in [*(coloured(features, c) for c in COLOURS), rumbling(features)]:
            found = agreement(predict(network, changed), labels)
            cells += [f"{found['pcc']:.3f}", f"{found['rmse']:.3f}"]
        lines.append(f"| {path.stem if path.stem != 'model' else path.parent.name} | "
                     f"{training.get('colour', 0):g} dB, rumble in "
                     f"{100 * training.get('rumble', 0):.0f} % | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    partial = REPORT.with_suffix(".partial")
    partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    partial.replace(REPORT)


if __name__ == "__main__":
    main()
