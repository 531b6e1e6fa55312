"""Train a network on degraded speech labelled with PESQ."""

import click

from bamac.cli import emit, say
from bamac.options import json_option


class Display:
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


def _bits(_context, _option, text):
    if text is None:
        return ()
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"give numbers with commas between, as 8,4,4,4, not {text!r}"
                                 ) from None


@click.command()
@click.option("--out", metavar="FOLDER", default="runs/paper-bam-w8", show_default=True,
              help="Folder of the run; an interrupted run there is continued.")
@click.option("--variant", type=click.Choice(["fp32", "w8", "bam", "bam-w8"]), default="bam-w8",
              show_default=True, help="ReLU or binary maps, float or int8 weights.")
@click.option("--clips", type=click.IntRange(min=1), default=None,
              help="Training clips of 5 s; up to 600 more for validation and 1,200 more for test "
                   "are made too. [default: 14400]")
@click.option("--hours", type=click.FloatRange(min=0, min_open=True), default=None,
              help="The same in hours of training audio.")
@click.option("--epochs", type=click.IntRange(min=1), default=None,
              help="Epochs on crops with float weights. [default: 16]")
@click.option("--fine-epochs", type=click.IntRange(min=1), default=None,
              help="Epochs on whole clips, with int8 weights. [default: 3]")
@click.option("--crop", type=click.IntRange(32, 249), default=None,
              help="Frames of a crop (20 ms each). [default: 160]")
@click.option("--batch", type=click.IntRange(min=1), default=None, help="[default: 32]")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), default=None,
              help="Peak learning rate on crops. [default: 0.003]")
@click.option("--start", metavar="FLOAT.pt", type=click.Path(exists=True, dir_okay=False),
              default=None, help="Do the epochs on whole clips alone, from this network "
                                 "(float.pt of another run).")
@click.option("--global-pool", type=click.Choice(["sum", "max"]), default=None,
              help="Ones per channel, or their OR. [default: sum]")
@click.option("--start-bias", type=float, default=None,
              help="Start of batch norm's bias: Phi(bias) ones per map. [default: -1]")
@click.option("--beta", type=click.FloatRange(min=0), default=None,
              help="Sharpness of the surrogate gradient. [default: 2]")
@click.option("--union-penalty", type=click.FloatRange(min=0), default=None,
              help="Weight of the 2x2 union density in the loss. [default: 0]")
@click.option("--input-bits", type=click.IntRange(3, 8), default=None, help="[default: 8]")
@click.option("--weight-bits", metavar="B,B,B,B", callback=_bits,
              help="Weight bits of each convolution. [default: 8 everywhere]")
@click.option("--colour", metavar="DB", type=click.FloatRange(0, 12), default=None,
              help="Vary the spectrum of clips by so many dB (standard deviation). [default: 0]")
@click.option("--rumble", metavar="SHARE", type=click.FloatRange(0, 1), default=None,
              help="Share of clips that get a rumble below 60 Hz. [default: 0]")
@click.option("--prune", type=click.FloatRange(0, 1, max_open=True), default=None,
              help="Share of the weights set to zero. [default: 0]")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True,
              help="Decides initial values, order and augmentation.")
@click.option("--data-seed", type=click.IntRange(min=0), default=1, show_default=True,
              help="Decides the data set.")
@click.option("--data", "speech_folder", metavar="FOLDER", default=None,
              type=click.Path(exists=True, file_okay=False),
              help="Your own clean speech (wav, flac, ogg; one subfolder per talker, three or more "
                   "talkers) instead of the speech packages.")
@click.option("--threads", type=click.IntRange(min=1), default=None,
              help="Threads of PyTorch. [default: 1]")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default=None,
              help="[default: cpu]")
@click.option("--workers", type=click.IntRange(min=1), default=None,
              help="Processes that make the data set. [default: 2]")
@click.option("--cache", metavar="FOLDER", default=None,
              help="Where packages and data sets are kept. [default: ~/.cache/bamac]")
@json_option
def command(out, clips, hours, as_json, **values):
    """Build a data set of degraded speech, train, and report PCC, SRCC and RMSE.

    The speech comes from Debian packages (fetched without root) or from a folder of yours. Voices
    and languages of the test are never trained on. Ctrl-C keeps everything up to the last epoch
    and the last 40 labelled clips; the same command continues. On several GPUs or hosts, start it
    with torchrun.

    \b
    Example: bamac train --out runs/mine --clips 5000 --epochs 20
    Example: torchrun --nproc-per-node 2 -m bamac train --out runs/mine --device cuda
    """
    if clips is not None and hours is not None:
        raise click.UsageError("Give --clips or --hours, not both")
    from bamac.train import TrainConfig, report_text, train

    values["clips"] = clips if hours is None else max(1, round(hours * 720))
    config = TrainConfig(**{k: v for k, v in values.items() if v is not None})
    with Display(quiet=as_json) as display:
        report = train(config, out, progress=display)
    if report is None:  # a helper process of torchrun
        return
    if as_json:
        emit(report)
        return
    click.echo(report_text(report), nl=False)
    say(f"model: {out}/model.pt")
