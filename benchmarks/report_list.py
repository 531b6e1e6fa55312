"""The list of all reports: what each says, the command that makes it, and what it depends on."""

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
FPGA = ("sw/bamac/fpga/*.py",)
FEATURES = ("sw/bamac/frontends/*.py",)
SHIPPED = ("sw/bamac/assets/models/paper-bam-w8.*", "sw/bamac/assets/models/paper-fp32.*")


@dataclass(frozen=True)
class Report:
    """One report.

    Parameters
    ----------
    name : str
        As ``--only`` takes it.
    path : str
        Of its main file, in ``reports/``.
    says : str
        One line for the index; Markdown.
    command : tuple of str
        Words for the repository's folder; ``bamac`` and ``python`` are those of this interpreter.
    sources : tuple of str
        Files and patterns whose contents decide the report.
    before : tuple of commands
        To be run first.
    also : tuple of str
        Further files that it makes and other reports read, in ``reports/``.
    data : int
        Recipe of the data set that it needs and ``bamac data`` makes; 0 for none.
    minutes : int
        About how long it takes from empty caches, another one at the same time. The longest are
        begun first, so that no long one is left alone at the end.
    """

    name: str
    path: str
    says: str
    command: tuple
    sources: tuple
    before: tuple = ()
    also: tuple = ()
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
        minutes=minutes)


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
           "PCC, SRCC, RMSE of every variant, by damage, language and recording; memory; density",
           ("bamac", "evaluate", "--table", "reports/runs"),
           ("reports/runs/**/*", "sw/bamac/evaluation/tables.py", "sw/bamac/report/accuracy.py"),
           also=("accuracy.json",), data=6),
    Report("learning-curve", "learning-curve.md",
           "agreement against training clips, talkers and epochs",
           ("bamac", "evaluate", "--curve", "reports/runs", "--curve", "reports/runs-of-fewer",
            "--curve", "reports/recipe-7/runs",
            "--curve", "reports/recipe-7/runs-of-other-settings"),
           ("reports/**/runs*/**/*", "sw/bamac/report/learning_curve.py")),
    Report("trade-off", "trade-off.md",
           "agreement against cycles of the event-driven array, over settings of training",
           ("python", "-m", "benchmarks.trade_off", "reports/runs"),
           ("reports/runs/**/*", *COMPILER, *FEATURES, "benchmarks/trade_off.py")),
    Report("data", "data.md",
           "the data set by damage, noise, codec, language, voice, licence",
           ("bamac", "data", "--clips", "14400", "--report", "reports"),
           ("sw/bamac/data/*.py", "sw/bamac/report/data.py"), data=6),
    Report("data-recipe-7", "recipe-7/data.md",
           "the same of the second recipe of training clips",
           ("bamac", "data", "--clips", "14400", "--data-recipe", "7", "--report",
            "reports/recipe-7"),
           ("sw/bamac/data/*.py", "sw/bamac/report/data.py"), data=7),
    Report("data-recipe-8", "recipe-8/data.md",
           "the same of the recipe without PESQ, for distilling",
           ("bamac", "data", "--clips", "20000", "--data-recipe", "8", "--report",
            "reports/recipe-8"),
           ("sw/bamac/data/*.py", "sw/bamac/report/data.py"), data=8),
    Report("data-recipe-9", "recipe-9/data.md",
           "the same with the voices and noises of games, for distilling",
           ("bamac", "data", "--clips", "30000", "--data-recipe", "9", "--report",
            "reports/recipe-9"),
           ("sw/bamac/data/*.py", "sw/bamac/report/data.py"), data=9),
    Report("accuracy-recipe-7", "recipe-7/accuracy.md",
           "full precision against binary maps with int8 weights, trained by the second recipe",
           ("bamac", "evaluate", "--table", "reports/recipe-7/runs", "--out", "reports/recipe-7"),
           ("reports/recipe-7/runs/**/*", "sw/bamac/evaluation/tables.py",
            "sw/bamac/report/accuracy.py"),
           data=7),
    Report("explore", "explore.md",
           "arrays against each other: cycles, lanes, memory, traffic; weight traffic against its "
           "lower bound",
           ("bamac", "explore", "-o", "reports"),
           (*HARDWARE, *COMPILER, *SHIPPED, "sw/bamac/explore/*.py")),
    Report("event-walk", "event-walk.md",
           "event-driven against dense walk, by layer and cause; tile shapes",
           ("python", "-m", "benchmarks.event_walk", "--rtl", "20"),
           (*HARDWARE, *COMPILER, *SHIPPED, "benchmarks/event_walk.py"), minutes=4),
    Report("lanes", "lanes.md",
           "LUTs, DSPs and cycles of gated, pair and int8 lanes on ECP5",
           ("python", "-m", "benchmarks.lanes"),
           (*HARDWARE, *COMPILER, *FPGA, "benchmarks/lanes.py"), minutes=1),
    Report("thresholds", "thresholds.md",
           "how much of DNSMOS P.808's sums binary maps keep, at one threshold per kernel or more",
           ("python", "-m", "benchmarks.thresholds"),
           ("benchmarks/thresholds.py", "sw/bamac/training/warm_start.py"), data=7, minutes=2),
    Report("popcounts", "popcounts.md",
           "how much of DNSMOS P.808's score counts of ones can carry, at one threshold or more; "
           "what its pooling grid costs",
           ("python", "-m", "benchmarks.popcounts"),
           ("sw/bamac/training/dnsmos_start.py", "sw/bamac/frontends/dnsmos.py",
            "benchmarks/popcounts.py","sw/bamac/assets/models/p808-bam-w8-wide.pt"),
           data=7, minutes=4),
    Report("exactness", "exactness.md",
           "scores of the shipped binary networks at every level of the chain, on all test clips",
           ("python", "-m", "benchmarks.exactness"),
           (*HARDWARE, *COMPILER, "sw/bamac/assets/models/*-bam-w8*", "sw/bamac/qonnx/*.py",
            "sw/bamac/nn/lowering.py", "benchmarks/exactness.py"), data=6, minutes=28),
    Report("colour", "colour.md",
           "agreement when recordings have another spectrum, or rumble",
           ("python", "-m", "benchmarks.colour", "sw/bamac/assets/models/paper-bam-w8.pt",
            "sw/bamac/assets/models/paper-fp32.pt"),
           (*FEATURES, *SHIPPED, "benchmarks/colour.py"), data=6, minutes=2),
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
