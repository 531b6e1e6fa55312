"""What a finished training run gets besides its networks: files, and lines for a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bamac.evaluation.metrics import agreement_lines
from bamac.files import new_file, write_text
from bamac.training.recipe import TrainingResult

from .card import distilled_card, model_card

__all__ = ["distilled_text", "supervised_text", "write_distilled", "write_supervised"]


def write_supervised(folder: str | Path, result: TrainingResult) -> None:
    """Write ``report.json``, ``report.txt``, ``card.md`` (the model card) and ``test.npz``.

    ``test.npz`` has ``scores`` and ``labels`` (clips,) of the test. The files of the run's own twin
    go to the folder ``twin``.
    """
    folder = Path(folder)
    if result.twin:
        write_supervised(folder / "twin", result.twin)
    with new_file(folder / "test.npz") as temporary:
        np.savez(temporary, scores=result.test_scores, labels=result.test_labels)
    _write_report(folder, result)
    write_text(folder / "report.txt", supervised_text(result.report))
    write_text(folder / "card.md", model_card(folder.name, result.report))


def write_distilled(folder: str | Path, result: TrainingResult) -> None:
    """Write ``report.json`` and, if the report says where the clips come from, ``card.md``."""
    folder = Path(folder)
    _write_report(folder, result)
    if result.report["data"]:
        write_text(folder / "card.md", distilled_card(folder.name, result.report))


def _write_report(folder: Path, result: TrainingResult) -> None:
    write_text(folder / "report.json", json.dumps(result.report, indent=1) + "\n")


def supervised_text(report: Mapping[str, Any]) -> str:
    """A supervised run's report as a few lines."""
    first = (f"Kept epoch {report['epoch']} of {report['epochs']}, "
             f"{report['training_seconds'] / 60:.0f} min of training.")
    return _text(first, report)


def distilled_text(report: Mapping[str, Any]) -> str:
    """A distillation's report as a few lines."""
    epochs = f"{report['epoch']} epoch{'s' * (report['epoch'] > 1)}"
    first = (f"{epochs}, {report['training_seconds'] / 60:.0f} min of training "
             f"on {report['clips']} clips. Agreement with DNSMOS P.808:")
    return _text(first, report)


def _text(first: str, report: Mapping[str, Any]) -> str:
    lines = [first, "", *agreement_lines(report), "", "Activation density of each map: "
             + ", ".join(f"{d:.1%}" for d in report["density"])]
    return "\n".join(lines) + "\n"
