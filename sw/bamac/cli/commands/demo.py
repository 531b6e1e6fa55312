"""Score the demonstration clips that ship with bamac."""

import sys

import click

from bamac.cli.main import EXIT_CHECK, emit, say, warn
from bamac.cli.options import (
    array_option,
    clock_option,
    json_option,
    model_option,
    simulation_bar,
)


@click.command()
@model_option
@array_option
@clock_option
@json_option
def command(model, array, clock_mhz, as_json):
    """Score the shipped clips on the simulated accelerator, each checked bit for bit.

    \b
    Example: bamac demo
    """
    from bamac.load import demo_clips
    from bamac.report.summary import print_summary
    from bamac.result import run

    clips = demo_clips()
    if not clips:
        raise FileNotFoundError("No demonstration clips ship with this installation; "
                                "use 'bamac run CLIP.wav'")
    results = []
    for clip in clips:
        if not as_json:
            say(f"scoring {clip.name}")
        with simulation_bar(as_json) as bar:
            results.append(run(clip, model=model, array=array, clock_mhz=clock_mhz, warn=warn,
                               simulation_progress=bar).to_dict())
        if not as_json:
            print_summary(results[-1], brief=len(results) > 1)
    exact = all(result["bit_exact"] for result in results)
    if as_json:
        emit({"clips": results, "bit_exact": exact})
    sys.exit(0 if exact else EXIT_CHECK)
