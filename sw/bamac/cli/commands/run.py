"""Score a speech clip on the simulated hardware and check it bit for bit."""

import sys
from pathlib import Path

import click

from bamac.cli.main import EXIT_CHECK, emit, say, warn
from bamac.cli.options import (
    array_option,
    check_output,
    clock_option,
    json_option,
    model_option,
    simulation_bar,
)


@click.command()
@click.argument("clip")
@model_option
@array_option
@clock_option
@click.option("--report", metavar="FILE.html", help="Write an HTML report.")
@click.option("--build-dir", metavar="FOLDER", type=click.Path(path_type=Path), default=None,
              help="Keep the compiled simulation here and use it again.")
@json_option
def command(clip, model, array, clock_mhz, report, build_dir, as_json):
    """Score CLIP (wav, flac or ogg) on the simulated accelerator.

    Every layer's output, every counted cycle and every memory access is compared with the
    reference and the model. Clips longer than the model's window (5 s; 9 s for P.808) are scored in
    windows; the score is their mean.
    Exit code 1 if anything differs.

    \b
    Example: bamac run speech.wav --array small --report report.html
    """
    from bamac.result import run

    check_output(report)
    with simulation_bar(as_json) as bar:
        result = run(clip, model=model, array=array, clock_mhz=clock_mhz, build_dir=build_dir,
                     warn=warn, progress=None if as_json else say,
                     simulation_progress=bar).to_dict()
    if report:
        from bamac.report import write_report

        write_report(result, report)
    if as_json:
        emit(result)
    else:
        from bamac.report.summary import print_summary

        print_summary(result)
        if report:
            say(f"report written to {report}")
    sys.exit(0 if result["bit_exact"] else EXIT_CHECK)
