"""Make the data set of degraded, labelled speech that training reads."""

import click

from bamac.cli import emit, say
from bamac.options import json_option


@click.command()
@click.option("--hours", type=click.FloatRange(min=0, min_open=True), default=20.0,
              show_default=True, help="Training audio, in clips of 5 s; up to 600 clips for "
                                      "validation and 1,200 for test are made too.")
@click.option("--clips", type=click.IntRange(min=1), default=None,
              help="The same as a number of training clips.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True,
              help="Decides every clip.")
@click.option("--data", "speech_folder", metavar="FOLDER", default=None,
              type=click.Path(exists=True, file_okay=False),
              help="Your own clean speech (wav, flac, ogg; one subfolder per talker, three or more "
                   "talkers) instead of the speech packages.")
@click.option("--workers", type=click.IntRange(min=1), default=2, show_default=True,
              help="Processes.")
@click.option("--cache", metavar="FOLDER", default=None,
              help="Where packages and data sets are kept. [default: ~/.cache/bamac]")
@click.option("--report", metavar="FOLDER", default=None,
              help="Also write data.md and data.png there.")
@json_option
def command(hours, clips, seed, speech_folder, workers, cache, report, as_json):
    """Fetch recorded speech, degrade it, label it, and say what came out.

    Labels are wide-band PESQ and the released DNSMOS P.808's score. Ctrl-C keeps what is finished;
    the same command continues. More hours later keep the clips that are there.

    \b
    Example: bamac data --hours 20
    """
    from bamac.commands.train import Display
    from bamac.data import build as data_build
    from bamac.data.summary import leaks, summarise

    clips = clips or max(1, round(hours * 720))
    with Display(quiet=as_json) as display:
        folder = data_build.build(
            cache or data_build.DEFAULT_CACHE, clips=clips, seed=seed, workers=workers,
            speech_folder=speech_folder, progress=display.data)
    summary = {"folder": str(folder), "clips": clips, "seed": seed, "recipe": data_build.RECIPE,
               "leaks": leaks(folder),
               "splits": summarise(folder, data_build.split_sizes(clips))}
    if report is not None:
        from bamac.report.data import write_report

        write_report(summary, report)
    if as_json:
        emit(summary)
    else:
        from bamac.report.data import data_text

        click.echo(data_text(summary), nl=False)
        say(f"data set: {folder}")
    if summary["leaks"]:
        raise click.ClickException("The splits are not separate: " + "; ".join(summary["leaks"]))
