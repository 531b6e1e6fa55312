"""Write the report of a design, or of one saved result."""

import json
import sys
from pathlib import Path

import click

from bamac.cli.main import emit, say
from bamac.cli.options import check_output, json_option
from bamac.errors import InputError


@click.command()
@click.argument("source", metavar="NAME.bamac|RESULT.json")
@click.option("-o", "--output", metavar="FILE.html", default=None,
              help="The page. [default: report.html, or none with --markdown]")
@click.option("--markdown", metavar="FOLDER", default=None,
              help="Write README.md and its figures there (a program's report alone).")
@click.option("--target", metavar="NAME", default="ecp5-25k", show_default=True,
              help="FPGA for resources and timing.")
@click.option("--seeds", metavar="N", type=click.IntRange(1, 1000), default=3, show_default=True,
              help="Placer seeds to show.")
@click.option("--synth", is_flag=True, help="Map, place and route what is not in the cache.")
@click.option("--activity", is_flag=True,
              help="Simulate the mapped netlist, if that is not in the cache, for the energy of "
                   "its toggles (ECP5; minutes).")
@click.option("--input", "clips", metavar="CLIP", multiple=True,
              help="Clip to score; may be repeated. [default: the four that ship with bamac]")
@click.option("--model", metavar="FILE", default=None,
              help="The network the program was compiled from; default: the copy in the program.")
@click.option("--card", metavar="CARD.md", type=click.Path(exists=True, dir_okay=False),
              default=None, help="Model card of the network. [default: the shipped model's, if it "
                                 "is that network]")
@click.option("--accuracy", metavar="FILE.json", type=click.Path(exists=True, dir_okay=False),
              default=None, help="accuracy.json of 'bamac evaluate --table', for the variants.")
@json_option
def command(source, output, markdown, target, seeds, synth, activity, clips, model, card, accuracy,
            as_json):
    """Write a report: of a program on its array, or of what 'bamac run --json' printed.

    A program's report has its scores on sample clips, accuracy, cycles, traffic, memory, resources,
    timing and energy. The clips are simulated (kept by content). What takes longer comes from the
    cache; where it is missing, the report says which command makes it.

    \b
    Example: bamac report paper.bamac --target ecp5-25k --synth -o paper.html
    Example: bamac run speech.wav --json > result.json; bamac report result.json
    """
    check_output(output)
    output = output or (None if markdown else "report.html")
    if Path(source).is_dir():
        written = _design(source, output, markdown, as_json, card=card, accuracy=accuracy,
                          target=target, seeds=seeds, synth=synth, activity=activity, clips=clips,
                          model=model)
    else:
        if markdown:
            raise click.UsageError("--markdown is for the report of a program (NAME.bamac)")
        _result(source, output)
        written = {"output": str(output)}
    if as_json:
        emit(written)
    else:
        say("report written to " + " and ".join(filter(None, written.values())))


def _result(source, output):
    from bamac.report import write_report

    try:
        result = json.loads(Path(source).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{source} is not JSON ({error})") from error
    write_report(result, output)


def _design(source, output, markdown, quiet, **options):
    from bamac.files import write_text
    from bamac.report.design import Options, collect, design_document
    from bamac.report.document import html_page, write_markdown

    command_line = " ".join(["bamac report", Path(source).name, *_given(options)])
    design = collect(source, Options(**options), None if quiet else say)
    document = design_document(design, command_line)
    if output:
        write_text(output, html_page(document))
    if markdown:
        write_markdown(document, markdown)
    if not all(result["bit_exact"] for result in design.results):
        say("check failed: the hardware and the reference differ; the report says where")
        sys.exit(1)
    return {"output": output, "markdown": markdown and f"{markdown}/README.md"}


def _given(options):
    """The options that decide the content, as words of a command line, with files' names alone."""
    words = []
    for name, value in options.items():
        for each in value if isinstance(value, tuple) else [value]:
            if each is True:
                words.append(f"--{name}")
            elif each not in (None, False):
                word = Path(each).name if name in ("clips", "model", "card", "accuracy") else each
                words.append(f"--{name.replace('clips', 'input')} {word}")
    return words
