"""Train a P.808-shaped network to score as DNSMOS P.808 does."""

import click

from bamac.cli import emit, say
from bamac.options import json_option


@click.command()
@click.option("--out", metavar="FOLDER", default="runs/p808-bam-w8", show_default=True,
              help="Folder of the run; an interrupted run there is continued.")
@click.option("--clips", type=click.IntRange(min=1), default=10_000, show_default=True,
              help="Training clips of 5 s; up to 600 more for validation and 1,200 more for test "
                   "are made too.")
@click.option("--crop-epochs", type=click.IntRange(min=0), default=None,
              help="Epochs on crops, float weights.")
@click.option("--whole-epochs", type=click.IntRange(min=0), default=None,
              help="Epochs on whole clips, float weights.")
@click.option("--int8-epochs", type=click.IntRange(min=1), default=None,
              help="Epochs on whole clips, int8 weights.")
@click.option("--crop", type=click.IntRange(8, 900), default=None,
              help="Frames of a crop, 10 ms each.")
@click.option("--start-density", type=click.FloatRange(0.01, 0.9), default=None,
              help="Share of ones in every map at the start. [default: as active as the released "
                   "network's channels, 5 to 40 %]")
@click.option("--change", type=click.FloatRange(0, 1), default=None,
              help="Share of the clips that are changed before the teacher is asked.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True,
              help="Decides the training.")
@click.option("--data-seed", type=click.IntRange(min=0), default=1, show_default=True,
              help="Decides the data set.")
@click.option("--data", "speech", metavar="FOLDER", default=None,
              type=click.Path(exists=True, file_okay=False),
              help="Your own clean speech (wav, flac, ogg; one subfolder per talker) instead of "
                   "the speech packages.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True,
              help="Threads of PyTorch.")
@click.option("--workers", type=click.IntRange(min=1), default=2, show_default=True,
              help="Processes that make the data set.")
@click.option("--cache", metavar="FOLDER", default=None,
              help="Where packages and data sets are kept. [default: ~/.cache/bamac]")
@json_option
def command(out, clips, seed, data_seed, speech, threads, workers, cache, as_json, **changes):
    """Distil DNSMOS P.808 into a network with binary maps and int8 weights.

    The network starts from the released weights and learns from the released network's own scores
    of degraded speech, so its PCC says how well it agrees with DNSMOS, not with people. Ctrl-C
    keeps everything up to the last epoch; the same command continues.

    \b
    Example: bamac distil --out runs/p808 --clips 10000
    """
    from bamac.commands.train import Display
    from bamac.data import build as data_build
    from bamac.distil import Clips, DistilConfig, distil, report_text

    config = DistilConfig(seed=seed, threads=threads,
                          **{k: v for k, v in changes.items() if v is not None})
    with Display(quiet=as_json) as display:
        folder = data_build.build(cache or data_build.DEFAULT_CACHE, clips=clips, seed=data_seed,
                                  workers=workers, speech_folder=speech, progress=display.data)
        splits = {split: Clips(*data_build.load_split(folder, split, count, label="p808"))
                  for split, count in data_build.split_sizes(clips).items()}
        report = distil(config, out, splits, progress=display,
                        data={"clips": clips, "data_seed": data_seed, "speech_folder": speech})
    if as_json:
        emit(report)
        return
    click.echo(report_text(report), nl=False)
    say(f"model: {out}/model.pt")
