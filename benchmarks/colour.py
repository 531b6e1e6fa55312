"""How a network's agreement with PESQ holds when recordings sound brighter or duller.

``python -m benchmarks.colour MODEL.pt ...`` scores the test clips as they are and with a smooth
gain over frequency, drawn anew for each clip, of 1.5 and 3 dB (standard deviation at seven points),
which PESQ hardly hears; it writes ``reports/colour.md``. References of the data set all have one
long-term spectrum; recordings of users do not.
"""

import argparse
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from bamac.checkpoint import DEFAULT_MODEL, load_network
from bamac.data import build as data_build
from bamac.metrics import agreement
from bamac.train import coloured_gain, predict, shifted

REPORT = Path(__file__).parents[1] / "reports" / "colour.md"
COLOURS = (0.0, 1.5, 3.0)


def coloured(features, colour, seed=1):
    """The features int8 (n, frames, 120), each clip with a gain of its own."""
    if not colour:
        return features
    rng = np.random.default_rng(seed)
    return np.stack([shifted(clip, coloured_gain(rng, colour)) for clip in features])


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.colour", description=__doc__)
    parser.add_argument("models", nargs="*", type=Path, default=[Path(DEFAULT_MODEL)])
    arguments = parser.parse_args()
    lines = ["# Colour", "",
             f"Made by `python -m benchmarks.colour` on {time.strftime('%Y-%m-%d')} with bamac "
             f"{version('bamac')}, torch {version('torch')}. Test clips of [data.md](data.md), "
             "with a smooth random gain over frequency: its standard deviation at seven points.",
             "",
             "| model | trained with | " + " | ".join(f"{c:g} dB: PCC | RMSE" for c in COLOURS)
             + " |", "|---" * (2 + 2 * len(COLOURS)) + "|"]
    for path in arguments.models:
        network, metadata = load_network(path)
        training = metadata["training"]
        folder = data_build.set_folder(data_build.DEFAULT_CACHE, training["data_seed"])
        features, labels, _ = data_build.load_split(folder, "test")
        cells = []
        for colour in COLOURS:
            found = agreement(predict(network, coloured(features, colour)), labels)
            cells += [f"{found['pcc']:.3f}", f"{found['rmse']:.3f}"]
        lines.append(f"| {path.stem if path.stem != 'model' else path.parent.name} | "
                     f"{training.get('colour', 0):g} dB | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    partial = REPORT.with_suffix(".partial")
    partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    partial.replace(REPORT)


if __name__ == "__main__":
    main()
