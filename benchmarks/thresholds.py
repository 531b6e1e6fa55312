"""How much of the released network binary maps keep: ``python -m benchmarks.thresholds``.

Layer by layer, :func:`bamac.training.warm_start.warm_start` fits kernels that approximate the sums
of the released DNSMOS P.808 from the bits of the previous maps, with one threshold per kernel or
more. The report says how well the fitted sums of each convolution agree with the released network's
on clips that were not used for the fit. What one layer loses is missing in all later layers.

Writes ``reports/thresholds.md``. The clips must be in the cache (``bamac data --data-recipe 7``).
"""

from __future__ import annotations

import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from bamac import tasks
from bamac.files import write_text
from bamac.nn.network import Network
from bamac.nn.predict import tensor_of
from bamac.training.config import DistilConfig
from bamac.training.dnsmos_start import released_network
from bamac.training.warm_start import FIT_CLIPS, warm_start

REPORT = Path(__file__).parents[1] / "reports" / "thresholds.md"
CHOICES = ((1, 1, 1, 1), (2, 1, 1, 1), (1, 2, 1, 1), (1, 1, 2, 1), (1, 1, 1, 2), (2, 2, 2, 2),
           (3, 2, 2, 2), (3, 3, 3, 3))
OTHERS = 32
"""Number of clips that the agreement is measured on."""
BATCH = 16


def batches(features, count, seed):
    """``count`` clips in random order, as tensors of :data:`BATCH`."""
    chosen = np.random.default_rng(seed).permutation(len(features))[:count]
    return [tensor_of(features[chosen[i:i + BATCH]]) for i in range(0, count, BATCH)]


@torch.no_grad()
def correlations(network, twin, clips):
    """Mean over channels of the correlation of each convolution's sums with the twin's."""
    found = []
    maps = twin_maps = clips
    for stage, its in zip(network.convs, twin.convs, strict=True):
        mine = torch.cat([F.conv2d(x, stage.weight, padding=1) for x in maps])
        wanted = torch.cat([F.conv2d(x, its.weight, padding=1) for x in twin_maps])
        sums = [s.permute(1, 0, 2, 3).flatten(1).double() for s in (mine, wanted)]
        a, b = (s - s.mean(1, keepdim=True) for s in sums)
        found.append(float(((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))).mean()))
        maps, twin_maps = [stage(x) for x in maps], [its(x) for x in twin_maps]
    return found


def measure(thresholds, twin, train, others):
    """Correlations of a network with these thresholds per kernel, fitted and not trained."""
    torch.manual_seed(1)
    network = Network(DistilConfig(thresholds=thresholds).network())
    warm_start(network, twin, train)
    return correlations(network.eval(), twin, others)


def report(found):
    """The report's text, of ``{thresholds: correlations}``."""
    lines = ["# What further thresholds keep", "",
             f"Made by `python -m benchmarks.thresholds` on {time.strftime('%Y-%m-%d')} with torch "
             f"{version('torch')}, data seed 1. Networks with binary maps, fitted layer by layer "
             f"to the released DNSMOS P.808 on {FIT_CLIPS} clips, not trained. Correlation of each "
             f"convolution's sums with the released network's on {OTHERS} other clips of the same "
             f"talkers, mean over channels; the first convolution is the released one. Further "
             f"thresholds share their kernel's weights.", "",
             "| thresholds per kernel of maps 1 to 4 | conv 2 | conv 3 | conv 4 | conv 5 |",
             "|---|--:|--:|--:|--:|"]
    lines += [f"| {', '.join(map(str, thresholds))} | " + " | ".join(f"{r:.3f}" for r in rows[1:])
              + " |" for thresholds, rows in found.items()]
    return "\n".join(lines) + "\n"


def main():
    data = tasks.get("p808").data
    folder = data.folder({"data_seed": 1, "speech_folder": None, "data_recipe": 7})
    features, _, _ = data.load(folder, "train", 2000)
    half = len(features) // 2
    train, others = batches(features[:half], FIT_CLIPS, 1), batches(features[half:], OTHERS, 2)
    twin = released_network()
    found = {}
    for thresholds in CHOICES:
        found[thresholds] = measure(thresholds, twin, train, others)
        print(thresholds, *(f"{r:.3f}" for r in found[thresholds]), flush=True)
    write_text(REPORT, report(found))


if __name__ == "__main__":
    main()
