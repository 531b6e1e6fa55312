"""How much of DNSMOS P.808's score popcounts can carry: ``python -m benchmarks.popcounts``.

The released network keeps the maximum of each of its 64 last channels; a network with binary maps
has their popcounts. Here the released network's own last maps are binarised, at thresholds that
give a certain activation density. A support vector regression learns the released score from the
popcounts of training clips. Its agreement on clips of other talkers is about what a network with
perfect convolutions could reach. The second table moves the window in time: because the released
network pools on a grid of 8 frames, its score depends on where a clip starts. The third table shows
what that costs a shipped network with binary maps.

Writes ``reports/popcounts.md``. The clips must be in the cache (``bamac data --data-recipe 7``).
"""

from __future__ import annotations

import argparse
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVR

from bamac import tasks
from bamac.evaluation.metrics import pcc, rmse
from bamac.files import write_text
from bamac.nn.checkpoint import load_network
from bamac.nn.predict import predict, tensor_of
from bamac.shipped import model_path
from bamac.training.dnsmos_augmentation import frames_from
from bamac.training.dnsmos_start import released_network

REPORT = Path(__file__).parents[1] / "reports" / "popcounts.md"
SHARES = (0.1, 0.03, 0.01, 0.003, 0.001, 0.0003)
HEADS = (("maximum, as released", ("max",)), ("mean", ("mean",)),
         *((f"density {100 * share:g} %", (share,)) for share in SHARES[:-1]),
         ("density 1 % and 0.1 %", (0.01, 0.001)),
         ("density 3 %, 0.3 % and 0.03 %", (0.03, 0.003, 0.0003)))
SHIFTS = (1, 2, 4, 8)
SHIPPED = "p808-bam-w8-wide"
BATCH = 16


@torch.no_grad()
def last_maps(network, features):
    """The last maps (n, 64, 112, 15), a batch at a time."""
    for i in range(0, len(features), BATCH):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            maps = network.maps(tensor_of(features[i:i + BATCH]))[-1]
        yield maps.float()


def thresholds(network, features):
    """``{share: (64,)}``: the value of each channel that this share of positions exceeds."""
    values = torch.cat(list(last_maps(network, features))).permute(1, 0, 2, 3).flatten(1)
    kept = values[:, ::max(1, values.shape[1] // 500_000)]
    return {share: torch.quantile(kept, 1 - share, dim=1) for share in SHARES}


def statistics(network, features, limits):
    """``{"max" | "mean" | share: (n, 64)}`` of the last maps."""
    found = {key: [] for key in ("max", "mean", *limits)}
    for maps in last_maps(network, features):
        found["max"].append(maps.amax((2, 3)))
        found["mean"].append(maps.mean((2, 3)))
        for share, limit in limits.items():
            found[share].append((maps > limit[:, None, None]).sum((2, 3)).float().sqrt())
    return {key: torch.cat(parts).numpy() for key, parts in found.items()}


def agreements(train, labels, others, other_labels):
    """Rows (what, training PCC, PCC on other talkers) of regressions on the statistics."""
    for what, keys in HEADS:
        # Popcounts of other talkers may lie far outside of the range of the training clips
        head = make_pipeline(StandardScaler(), FunctionTransformer(
            np.clip, kw_args={"a_min": -4, "a_max": 4}), SVR(C=0.3, epsilon=0.05))
        given, wanted = (np.concatenate([part[k] for k in keys], 1) for part in (train, others))
        head.fit(given, labels)
        yield what, pcc(head.predict(given), labels), pcc(head.predict(wanted), other_labels)


def shifts(network, features):
    """Rows (frames, PCC, RMS difference) of the released score of a window that starts later."""
    frames = features.shape[1] - max(SHIFTS)
    first = predict(network, features[:, :frames], BATCH)
    for shift in SHIFTS:
        moved = predict(network, features[:, shift:shift + frames], BATCH)
        yield shift, pcc(moved, first), rmse(moved, first)


def starts(network, features):
    """Scores (8, n) of 5 s clips whose window starts 0 to 7 frames into the clip."""
    frames = features.shape[1]
    return np.stack([predict(network, features[:, frames_from(start, frames)] if start
                             else features, BATCH) for start in range(8)])


def grid_agreements(own, released):
    """Rows (what, PCC) of a network's and the released one's scores, each (8, n)."""
    yield "score, to the released score", pcc(own[0], released[0])
    yield "score, to the mean of the released scores of 8 starts", pcc(own[0], released.mean(0))
    yield "mean of its scores of 8 starts, to the released score", pcc(own.mean(0), released[0])
    yield "mean to mean", pcc(own.mean(0), released.mean(0))


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.popcounts", description=__doc__)
    parser.add_argument("--clips", type=int, default=6000, help="training clips of recipe 7")
    arguments = parser.parse_args()
    network = released_network()
    data = tasks.get("p808").data
    folder = data.folder({"data_seed": 1, "speech_folder": None, "data_recipe": 7})
    features, labels, _ = data.load(folder, "train", arguments.clips)
    others, other_labels, _ = data.load(folder, "val")
    limits = thresholds(network, features[::len(features) // 200])
    lines = ["# What popcounts say of a maximum", "",
             f"Made by `python -m benchmarks.popcounts --clips {arguments.clips}` on "
             f"{time.strftime('%Y-%m-%d')} with torch {version('torch')} and scikit-learn "
             f"{version('scikit-learn')}, data seed 1.", "",
             "Regressions on the last maps of the released DNSMOS P.808, from "
             f"{len(features):,} training clips; {len(others):,} validation clips, of other "
             "talkers. PCC to the released score.", "",
             "| statistic per channel | training | other talkers |",
             "|---|---|---|"]
    for what, own, other in agreements(statistics(network, features, limits), labels,
                                       statistics(network, others, limits), other_labels):
        lines.append(f"| {what} | {own:.3f} | {other:.3f} |")
        print(lines[-1], flush=True)
    lines += ["", "The same validation clips, the window starting later. One frame is 10 ms.", "",
              "| frames later | PCC to the score before | RMS difference |", "|---|---|---|"]
    for shift, agreement, apart in shifts(network, others):
        lines.append(f"| {shift} | {agreement:.3f} | {apart:.3f} |")
        print(lines[-1], flush=True)
    test = data.load(folder, "test")[0]
    shipped = load_network(model_path(SHIPPED, (".pt",)))[0]
    lines += ["", f"`{SHIPPED}` on the {len(test):,} test clips, windows that start 0 to 7 frames "
              "into the clip.", "", "| of the network with binary maps | PCC |", "|---|---|"]
    for what, agreement in grid_agreements(starts(shipped, test), starts(network, test)):
        lines.append(f"| {what} | {agreement:.3f} |")
        print(lines[-1], flush=True)
    write_text(REPORT, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
