"""Make the data set of degraded, labelled speech that training reads."""

import click

from bamac.cli.main import emit, say
from bamac.cli.options import data_options, json_option


@click.command()
@data_options(14_400)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True,
              help="Decides every clip.")
@click.option("--report", metavar="FOLDER", default=None,
              help="Also write data.md and data.png there.")
@json_option
def command(clips: int, seed: int, speech_folder: str | None, data_recipe: int, workers: int,
            cache: str, report: str | None, as_json: bool) -> None:
    """Fetch recorded speech, degrade it, label it, and say what came out.

    Labels are wide-band PESQ and the released DNSMOS P.808's score. Ctrl-C keeps what is finished;
    the same command continues. More hours later keep the clips that are there.

    \b
    Example: bamac data --hours 20
    """
    from bamac.data import build as data_build
    from bamac.data.summary import leaks, summarise
    from bamac.report.progress import TrainingDisplay

    with TrainingDisplay(quiet=as_json) as display:
        folder = data_build.build(
            cache, clips=clips, seed=seed, workers=workers,
            speech_folder=speech_folder, recipe=data_recipe, progress=display.data)
    summary = {"folder": str(folder), "clips": clips, "seed": seed, "recipe": data_recipe,
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
