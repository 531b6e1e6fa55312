"""Train a network on degraded speech labelled with PESQ."""

from typing import Any

import click

from bamac.cli.main import emit, say
from bamac.cli.options import data_options, json_option, run_options


def _bits(_context: click.Context, _option: click.Parameter,
          text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"give numbers with commas between, as 8,4,4,4, not {text!r}"
                                 ) from None


@click.command()
@run_options("runs/paper-bam-w8")
@data_options(14_400)
@click.option("--variant", type=click.Choice(["fp32", "w8", "bam", "bam-w8"]), default="bam-w8",
              show_default=True, help="ReLU or binary maps, float or int8 weights.")
@click.option("--epochs", type=click.IntRange(min=1), default=None,
              help="Epochs on crops. [default: 16]")
@click.option("--cycles", type=click.IntRange(min=1), default=None,
              help="Cosines of the learning rate in these epochs, each from the peak again. "
                   "[default: 1]")
@click.option("--fine-epochs", type=click.IntRange(min=0), default=None,
              help="Epochs on whole clips, with int8 weights and integer head. [default: 3]")
@click.option("--int8-first", is_flag=True, default=None,
              help="Keep the convolutions' weights on the int8 grid in the epochs on crops too.")
@click.option("--batch", type=click.IntRange(min=1), default=None, help="[default: 16]")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), default=None,
              help="Peak learning rate on crops. [default: 0.003]")
@click.option("--fine-rate", type=click.FloatRange(min=0, min_open=True), default=None,
              help="Peak learning rate on whole clips. [default: 0.0005]")
@click.option("--start", metavar="FLOAT.pt", type=click.Path(exists=True, dir_okay=False),
              default=None, help="Do the epochs on whole clips alone, from this network "
                                 "(float.pt of another run).")
@click.option("--twin", metavar="FLOAT.pt", type=click.Path(exists=True, dir_okay=False),
              default=None, help="Start binary maps from this full-precision network (float.pt of "
                                 "another run), not at random.")
@click.option("--twin-epochs", type=click.IntRange(min=0), default=None,
              help="Train that network first, in OUT/twin, for so many epochs. [default: 0]")
@click.option("--start-bias", type=float, default=None,
              help="Start of batch norm's bias; it sets the activation density, Phi(bias). "
                   "[default: -1]")
@click.option("--union-penalty", type=click.FloatRange(min=0), default=None,
              help="Weight of the density of 2x2 tiles in the loss. [default: 0]")
@click.option("--fine-union-penalty", type=click.FloatRange(min=0), default=None,
              help="The same in the epochs on whole clips. [default: as --union-penalty]")
@click.option("--input-bits", type=click.IntRange(3, 8), default=None, help="[default: 8]")
@click.option("--weight-bits", metavar="B,B,B,B", callback=_bits,
              help="Weight bits of each convolution. [default: 8 everywhere]")
@click.option("--prune", type=click.FloatRange(0, 1, max_open=True), default=None,
              help="Share of the weights set to zero. [default: 0]")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default=None,
              help="[default: cpu]")
@json_option
def command(out: str, as_json: bool, **values: Any) -> None:
    """Build a data set of degraded speech, train, and report PCC, SRCC and RMSE.

    The speech comes from Debian packages (fetched without root) or from a folder of yours. Voices
    and languages of the test are never trained on. Ctrl-C keeps everything up to the last epoch
    and the last 40 labelled clips; the same command continues. On several GPUs or hosts, start it
    with torchrun.

    \b
    Example: bamac train --out runs/mine --clips 5000 --epochs 20
    Example: torchrun --nproc-per-node 2 -m bamac train --out runs/mine --device cuda
    """
    from bamac.report.progress import TrainingDisplay
    from bamac.report.training_run import supervised_text, write_supervised
    from bamac.training.config import TrainConfig
    from bamac.training.supervised import train

    config = TrainConfig(**{k: v for k, v in values.items() if v is not None})
    with TrainingDisplay(quiet=as_json) as display:
        result = train(config, out, progress=display)
    if result is None:  # a helper process of torchrun
        return
    write_supervised(out, result)
    if as_json:
        emit(result.report)
        return
    click.echo(supervised_text(result.report), nl=False)
    say(f"model: {out}/model.pt")
