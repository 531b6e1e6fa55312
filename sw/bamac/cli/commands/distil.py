"""Train a P.808-shaped network to score as DNSMOS P.808 does."""

from typing import Any

import click

from bamac.cli.main import emit, say
from bamac.cli.options import data_options, json_option, run_options

POSITIVE = click.FloatRange(min=0, min_open=True)


def _numbers(_context: click.Context, _parameter: click.Parameter,
             value: str | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    counts = value.split(",")
    if len(counts) != 4 or not all(c.isdecimal() and 1 <= int(c) <= 8 for c in counts):
        raise click.BadParameter(f"must be four numbers in 1..8, as 2,2,1,1, not {value!r}")
    return tuple(map(int, counts))


def _caps(_context: click.Context, _parameter: click.Parameter,
          value: str | None) -> tuple[float, ...] | None:
    if value is None:
        return None
    try:
        caps = tuple(map(float, value.split(",")))
    except ValueError:
        caps = ()
    if not caps or not all(0 < cap < 1000 for cap in caps):
        raise click.BadParameter(f"must be positive numbers, as 0.25,3, not {value!r}")
    return caps


@click.command()
@run_options("runs/p808-bam-w8")
@data_options(10_000)
@click.option("--start", type=click.Path(exists=True, dir_okay=False), default=None,
              metavar="FILE", help="model.pt of another run to go on from. [default: a fit of the "
                                   "released weights]")
@click.option("--crop-epochs", type=click.IntRange(min=0), default=None,
              help="Epochs on crops, float weights.")
@click.option("--whole-epochs", type=click.IntRange(min=0), default=None,
              help="Epochs on crops of 5 s, which hold all of a clip, float weights.")
@click.option("--int8-epochs", type=click.IntRange(min=1), default=None,
              help="Epochs on whole windows, int8 weights.")
@click.option("--crop", type=click.IntRange(8, 900), default=None,
              help="Frames of a crop, 10 ms each.")
@click.option("--change", type=click.FloatRange(0, 1), default=None,
              help="Share of the clips that are changed before the teacher is asked.")
@click.option("--circular-shift", type=click.FloatRange(0, 1), default=None,
              help="Share of the clips whose window starts elsewhere in the clip. [default: 0]")
@click.option("--vtlp", type=click.FloatRange(0, 1), default=None,
              help="Share of the clips with vocal tract length perturbation, and another tempo. "
                   "[default: 0]")
@click.option("--batch", type=click.IntRange(min=1), default=None,
              help="Clips per step; the last two phases use half of it.")
@click.option("--rate", type=POSITIVE, default=None, help="Peak learning rate on crops.")
@click.option("--whole-rate", type=POSITIVE, default=None,
              help="Peak learning rate on crops of 5 s.")
@click.option("--int8-rate", type=POSITIVE, default=None,
              help="Peak learning rate with int8 weights.")
@click.option("--hint", type=click.FloatRange(min=0), default=None,
              help="Weight of the hidden layers' error in the loss.")
@click.option("--levels", type=click.IntRange(1, 8), default=None,
              help="Thresholds per kernel of the last map at the start: 64 channels each.")
@click.option("--thresholds", metavar="N,N,N,N", default=None, callback=_numbers,
              help="Thresholds per kernel of each map before the last, which share its weights: "
                   "32 channels each. [default: 1,1,1,1]")
@click.option("--count-caps", metavar="X,X", default=None, callback=_caps,
              help="Give the head saturating units in place of popcounts: per channel one that "
                   "stops at each of these multiples of its mean, but at a popcount of 4 at "
                   "least and of 510 at most. [default: none]")
@click.option("--segments", type=click.IntRange(0, 112), default=None,
              help="Parts of a crop or window, along time, that are scored too; 0 for none.")
@click.option("--beta", type=click.FloatRange(min=0), default=None,
              help="Sharpness of the surrogate gradient.")
@click.option("--freeze-norm", is_flag=True, default=None,
              help="Keep batch norm's statistics as the warm start set them.")
@click.option("--compile", is_flag=True, default=None,
              help="Compile gradients of pool and step: faster with --freeze-norm, needs a C++ "
                   "compiler.")
@json_option
def command(out: str, clips: int, data_seed: int, speech_folder: str | None, data_recipe: int,
            workers: int, cache: str, as_json: bool, **values: Any) -> None:
    """Distil DNSMOS P.808 into a network with binary maps and int8 weights.

    The network starts from the released weights and learns from the released network's own scores
    of degraded speech, so its PCC says how well it agrees with DNSMOS, not with people. Ctrl-C
    keeps everything up to the last epoch; the same command continues.

    \b
    Example: bamac distil --out runs/p808 --clips 10000
    """
    from bamac import tasks
    from bamac.report.progress import TrainingDisplay
    from bamac.report.training_run import distilled_text, write_distilled
    from bamac.training.config import DistilConfig
    from bamac.training.distillation import Clips, distil

    config = DistilConfig(**{k: v for k, v in values.items() if v is not None})
    with TrainingDisplay(quiet=as_json) as display:
        data = tasks.get("p808").data
        folder = data.build(cache, clips=clips, seed=data_seed, workers=workers,
                            speech_folder=speech_folder, recipe=data_recipe,
                            progress=display.data)
        splits = {split: Clips(*data.load(folder, split, count))
                  for split, count in data.sizes(clips).items()}
        result = distil(config, out, splits, progress=display,
                        data={"clips": clips, "data_seed": data_seed,
                              "speech_folder": speech_folder, "data_recipe": data_recipe})
    if result is None:  # a helper process of torchrun
        return
    write_distilled(out, result)
    if as_json:
        emit(result.report)
        return
    click.echo(distilled_text(result.report), nl=False)
    say(f"model: {out}/model.pt")
