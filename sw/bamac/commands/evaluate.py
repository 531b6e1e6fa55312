"""Measure how well a model's scores agree with the labels of held-out clips."""

import click

from bamac.cli import emit
from bamac.options import json_option


@click.command()
@click.option("--model", metavar="FILE.pt", default=None,
              help="Checkpoint; default: the shipped one.")
@click.option("--level", type=click.Choice(["float", "qat", "integer"]), default="integer",
              show_default=True, help="Which level of the chain computes the scores.")
@click.option("--data", metavar="FOLDER", default=None,
              help="Data set; default: the cache that 'bamac train' built.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="test",
              show_default=True)
@click.option("--clips", type=click.IntRange(min=1), default=None, help="Only the first clips.")
@json_option
def command(model, level, data, split, clips, as_json):
    """Evaluate a checkpoint: correlation and error against PESQ, per family of voices.

    \b
    Example: bamac evaluate --model runs/paper/best.pt --level integer
    """
    from bamac.checkpoint import DEFAULT_MODEL
    from bamac.evaluate import evaluate_dataset

    result = evaluate_dataset(model or DEFAULT_MODEL, level, data, split, clips)
    if as_json:
        emit(result)
        return
    from bamac.report.summary import print_agreement

    print_agreement(result)
