"""Write the HTML report of a result that was saved as JSON."""

import json
from pathlib import Path

import click

from bamac.cli import emit, say
from bamac.options import check_output, json_option
from bamac.pipeline import InputError


@click.command()
@click.argument("result_file", metavar="RESULT.json")
@click.option("-o", "--output", metavar="FILE.html", default="report.html", show_default=True)
@json_option
def command(result_file, output, as_json):
    """Write a report from what 'bamac run --json' or 'bamac simulate --json' printed.

    \b
    Example: bamac run speech.wav --json > result.json; bamac report result.json
    """
    from bamac.report import write_report

    check_output(output)
    try:
        result = json.loads(Path(result_file).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{result_file} is not JSON ({error})") from error
    write_report(result, output)
    if as_json:
        emit({"output": str(output)})
    else:
        say(f"report written to {output}")
