"""The list of all reports: what each says, the command that makes it, and its sources."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FOLDER", "REPORTS", "ROOT", "Report"]

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "reports"

PROGRAMS = "build/programs"
MODEL = "sw/bamac/assets/models/paper-bam-w8.onnx"
TWIN = "sw/bamac/assets/models/paper-fp32.pt"

HARDWARE = ("hw/bamac_hw/**/*.py", "sim/bamac_sim/*.py")
COMPILER = ("sw/bamac/ir/*.py", "sw/bamac/compiler/*.py", "sw/bamac/perf/*.py")
DATA = ("sw/bamac/data/*.py", "sw/bamac/report/data.py")
FPGA = ("sw/bamac/fpga/*.py",)
FEATURES = ("sw/bamac/frontends/*.py",)
SHIPPED = ("sw/bamac/assets/models/paper-bam-w8.*", "sw/bamac/assets/models/paper-fp32.*")
RUNS = "reports/runs.json"
TABLES = (RUNS, "sw/bamac/evaluation/runs.py", "sw/bamac/evaluation/tables.py")


@dataclass(frozen=True)
class Report:
    """One report.

    Parameters
    ----------
    name : str
        Its name for ``--only``.
    path : str
        Its main file, in ``reports/``.
    says : str
        What it says, as one line of Markdown for the index.
    command : tuple of str
        The command that makes it, run in the repository's folder. ``bamac`` and ``python`` stand
        for those of this interpreter.
    sources : tuple of str
        Files and patterns whose contents decide the report.
    before : tuple of commands
        Commands to run first.
    also : tuple of str
        Further files that it makes and other reports read, in ``reports/``.
    drops : tuple of str
        Files that the command also writes and the repository does not keep: names or patterns in
        the folder of ``path``.
    data : int
        Recipe of the data set that it needs and ``bamac data`` makes; 0 for none.
    minutes : int
        About how long it takes from empty caches while another report is made. The longest start
        first, so that none of them is left alone at the end.
    """

    name: str
    path: str
    says: str
    command: tuple
    sources: tuple
    before: tuple = ()
    also: tuple = ()
    drops: tuple = ()
    data: int = 0
    minutes: int = 1

    @property
    def commands(self):
        """Every command to run, with this interpreter."""
        return [_runnable(command) for command in (*self.before, self.command)]

    @property
    def shown(self):
        """The command as a user types it."""
        return " ".join(self.command)


def _runnable(command):
    first, *rest = command
    start = {"bamac": [sys.executable, "-m", "bamac"], "python": [sys.executable]}[first]
    return [*start, *rest]


def _design(preset, target, *options, seeds=1, minutes, model=MODEL, what="the shipped network"):
    program = f"{PROGRAMS}/{preset}.bamac"
    return Report(
        preset, f"{preset}/README.md",
        f"{what} on array `{preset}`: scores, cycles, traffic, memory, resources "
        f"and timing on {target}, energy",
        ("bamac", "report", program, "--target", target, "--synth", "--seeds", str(seeds),
         *options, "--accuracy", "reports/accuracy.json", "--markdown", f"reports/{preset}"),
        (*HARDWARE, *COMPILER, *FPGA, *FEATURES, *SHIPPED, "sw/bamac/report/**/*.py",
         "reports/accuracy.json"),
        before=(("bamac", "compile", model, "--array", preset, "-o", program),),
        drops=("*.png",), minutes=minutes)


def _baseline(preset, target, *, minutes):
    return _design(preset, target, minutes=minutes, model=TWIN,
                   what="the int8 baseline: the network's twin with 8-bit maps")


REPORTS = (
    Report("front-end", "front-end.md", "time of features, labels and degradations",
           ("python", "-m", "benchmarks.front_end"),
           ("benchmarks/front_end.py", "sw/bamac/frontends/*.py", "sw/bamac/data/degrade.py")),
    Report("training-step", "training-step.md",
           "time of a training step with this package's pool and step function and with PyTorch's",
           ("python", "-m", "benchmarks.training_step"),
           ("benchmarks/training_step.py", "sw/bamac/nn/pooling.py", "sw/bamac/nn/surrogate.py",
            "sw/bamac/nn/layers.py")),
    Report("accuracy", "accuracy.md",
           "PCC, SRCC, RMSE of every variant, also by degradation, language and recording; memory; "
           "activation density",
           ("bamac", "evaluate", "--table", RUNS, "--set", "recipe-6"),
           (*TABLES, "sw/bamac/report/accuracy.py"),
           also=("accuracy.json",), drops=("accuracy-damage.png",)),
    Report("learning-curve", "learning-curve.md",
           "agreement against training clips, talkers and epochs",
           ("bamac", "evaluate", "--curve", RUNS),
           (*TABLES, "sw/bamac/report/learning_curve.py"), drops=("learning-curve.json",)),
    Report("trade-off", "trade-off.md",
           "agreement against cycles of the event-driven array, over settings of training",
           ("python", "-m", "benchmarks.trade_off", RUNS),
           (*TABLES, "benchmarks/trade_off.py")),
    Report("data", "data.md",
           "the data set (recipe 6) by damage, noise, codec, language, voice, licence",
           ("bamac", "data", "--clips", "14400", "--report", "reports"),
           DATA, drops=("data.png",), data=6),
    Report("data-recipe-7", "recipe-7/data.md",
           "the data set of recipe 7: more talkers, all of the band",
           ("bamac", "data", "--clips", "14400", "--data-recipe", "7", "--report",
            "reports/recipe-7"),
           DATA, drops=("data.png",), data=7),
    Report("data-recipe-8", "recipe-8/data.md",
           "the data set of recipe 8, for distilling: no PESQ",
           ("bamac", "data", "--clips", "20000", "--data-recipe", "8", "--report",
            "reports/recipe-8"),
           DATA, drops=("data.png",), data=8),
    Report("data-recipe-9", "recipe-9/data.md",
           "the data set of recipe 9, for distilling: voices and noises of games too",
           ("bamac", "data", "--clips", "30000", "--data-recipe", "9", "--report",
            "reports/recipe-9"),
           DATA, drops=("data.png",), data=9),
    Report("accuracy-recipe-7", "recipe-7/accuracy.md",
           "full precision against binary maps with int8 weights, trained on recipe 7",
           ("bamac", "evaluate", "--table", RUNS, "--set", "recipe-7", "--out",
            "reports/recipe-7"),
           (*TABLES, "sw/bamac/report/accuracy.py"), drops=("accuracy.json", "accuracy-*.png")),
    Report("explore", "explore.md",
           "arrays compared: cycles, lanes, memory, traffic; weight traffic against its lower "
           "bound",
           ("bamac", "explore", "-o", "reports"),
           (*HARDWARE, *COMPILER, *SHIPPED, "sw/bamac/explore/*.py"),
           drops=("explore.csv", "explore.json", "explore-traffic.png")),
    Report("event-walk", "event-walk.md",
           "event-driven against dense walk, by layer and cause; tile shapes",
           ("python", "-m", "benchmarks.event_walk", "--rtl", "20"),
           (*HARDWARE, *COMPILER, *SHIPPED, "benchmarks/event_walk.py"), minutes=4),
    Report("lanes", "lanes.md",
           "LUTs, DSPs and cycles of gated, pair and int8 lanes on ECP5",
           ("python", "-m", "benchmarks.lanes"),
           (*HARDWARE, *COMPILER, *FPGA, "benchmarks/lanes.py"), minutes=1),
    Report("thresholds", "thresholds.md",
           "how much of DNSMOS P.808's sums binary maps keep, with one or more thresholds per "
           "kernel",
           ("python", "-m", "benchmarks.thresholds"),
           ("benchmarks/thresholds.py", "sw/bamac/training/warm_start.py"), data=7, minutes=2),
    Report("popcounts", "popcounts.md",
           "how much of DNSMOS P.808's score popcounts can carry, with one or more thresholds per "
           "kernel; what its pooling grid costs",
           ("python", "-m", "benchmarks.popcounts"),
           ("sw/bamac/training/dnsmos_start.py", "sw/bamac/frontends/dnsmos.py",
            "benchmarks/popcounts.py", "sw/bamac/assets/models/p808-bam-w8-wide.pt"),
           data=7, minutes=4),
    Report("exactness", "exactness.md",
           "scores of the shipped binary networks at every level of the chain, on all test clips",
           ("python", "-m", "benchmarks.exactness"),
           (*HARDWARE, *COMPILER, "sw/bamac/assets/models/*-bam-w8*", "sw/bamac/qonnx/**/*.py",
            "sw/bamac/nn/lowering.py", "benchmarks/exactness.py"), data=6, minutes=28),
    Report("random-equalisation", "random-equalisation.md",
           "agreement when recordings have another spectrum, or rumble",
           ("python", "-m", "benchmarks.random_equalisation",
            "sw/bamac/assets/models/paper-bam-w8.pt",
            "sw/bamac/assets/models/paper-fp32.pt"),
           (*FEATURES, *SHIPPED, "benchmarks/random_equalisation.py"), data=6, minutes=2),
    Report("conformance", "conformance.md",
           "random networks x arrays x inputs in RTL against reference, model and bounds",
           ("python", "-m", "benchmarks.conformance", "--runs", "500"),
           (*HARDWARE, *COMPILER, "benchmarks/conformance.py"),
           minutes=4),
    Report("targets", "targets.md", "bit-exactness, cycles, memory, speed, conformance",
           ("python", "-m", "benchmarks"),
           (*HARDWARE, *COMPILER, *SHIPPED, "benchmarks/__main__.py"), data=6, minutes=2),
    Report("peers", "peers.md",
           "NNgen and this accelerator on the same layers: cycles, utilisation, external bytes, "
           "LUTs",
           ("python", "-m", "benchmarks.peers", "--allow-missed", "--area", "int2", "small",
            "small_event"),
           (*HARDWARE, *COMPILER, "benchmarks/peers/*"), minutes=11),
    _design("tiny", "ice40-up5k", seeds=3, minutes=4),
    _design("small", "ecp5-25k", "--activity", seeds=3, minutes=12),
    _design("small_event", "ecp5-25k", seeds=3, minutes=5),
    _design("small_pair", "ecp5-25k", minutes=3),
    _design("large", "ecp5-85k", minutes=5),
    _baseline("small_int8", "ecp5-45k", minutes=18),
    _baseline("small_dsp", "ecp5-85k", minutes=9),
)
