"""Train a network on degraded speech labelled with PESQ."""

import click

from bamac.cli import emit, say
from bamac.options import json_option


class _Display:
    """Progress bars on stderr, for :func:`bamac.train.train`."""

    def __init__(self, quiet):
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._bars = Progress(TextColumn("{task.description:24}"), BarColumn(),
                              MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
                              console=Console(stderr=True), disable=quiet)
        self._tasks = {}
        self._eta = ""

    def __enter__(self):
        self._bars.start()
        return self

    def __exit__(self, *error):
        self._bars.stop()

    def _show(self, name, text, done, total):
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(text, total=total)
        self._bars.update(self._tasks[name], description=text, completed=done, total=total)

    def data(self, done, total, text):
        self._show("label" if text == "degrade and label" else "speech", text, done, total)

    def step(self, epoch, done, total):
        self._show("train", f"epoch {epoch}{self._eta}", done, total)

    def epoch(self, line, eta_seconds):
        self._eta = f", {eta_seconds / 60:.0f} min left"
        value = line["val"]["pcc"]
        shown = "undefined" if value is None else f"{value:.3f}"
        self._bars.console.print(
            f"epoch {line['epoch']:3} ({line['phase']}): loss {line['loss']:.4f}, "
            f"validation PCC {shown}, RMSE {line['val']['rmse']:.3f}, "
            f"ones {' '.join(f'{d:.0%}' for d in line['density'])}{self._eta}", highlight=False)


@click.command()
@click.option("--out", metavar="FOLDER", default="runs/paper-bam-w8", show_default=True,
              help="Folder of the run; an interrupted run there is continued.")
@click.option("--variant", type=click.Choice(["fp32", "bam", "bam-w8"]), default="bam-w8",
              show_default=True, help="ReLU, binary maps, or binary maps with int8 weights.")
@click.option("--clips", type=click.IntRange(min=1), default=None,
              help="Training clips of 5 s. A twelfth more for validation and a sixth more for "
                   "test are made too. [default: 5000]")
@click.option("--hours", type=click.FloatRange(min=0, min_open=True), default=None,
              help="The same in hours of training audio.")
@click.option("--epochs", type=click.IntRange(min=2), default=None, help="[default: 36]")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True,
              help="Decides the data set and the training.")
@click.option("--data", "speech", metavar="FOLDER", default=None,
              type=click.Path(exists=True, file_okay=False),
              help="Your own clean speech (wav, flac, ogg; one subfolder per talker, three or more "
                   "talkers) instead of the speech packages.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True,
              help="Threads of PyTorch.")
@click.option("--workers", type=click.IntRange(min=1), default=2, show_default=True,
              help="Processes that make the data set.")
@click.option("--cache", metavar="FOLDER", default=None,
              help="Where packages and data sets are kept. [default: ~/.cache/bamac]")
@json_option
def command(out, variant, clips, hours, epochs, seed, speech, threads, workers, cache, as_json):
    """Build a data set of degraded speech, train, and report PCC, SRCC and RMSE.

    The speech comes from Debian packages (fetched without root) or from a folder of yours. Voices
    and languages of the test are never trained on. Ctrl-C keeps everything up to the last epoch
    and the last 40 labelled clips; the same command continues.

    \b
    Example: bamac train --out runs/mine --clips 5000 --epochs 36
    """
    if clips is not None and hours is not None:
        raise click.UsageError("Give --clips or --hours, not both")
    from bamac.train import TrainConfig, report_text, train

    changes = {"speech_folder": speech, "cache": cache, "epochs": epochs,
               "clips": clips if hours is None else max(1, round(hours * 720))}
    config = TrainConfig(variant=variant, seed=seed, threads=threads, workers=workers,
                         **{k: v for k, v in changes.items() if v is not None})
    with _Display(quiet=as_json) as display:
        report = train(config, out, progress=display)
    if as_json:
        emit(report)
        return
    click.echo(report_text(report), nl=False)
    say(f"model: {out}/model.pt")
