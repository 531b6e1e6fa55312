"""Run a program on the simulated hardware, on audio or on integer frames."""

import sys
from pathlib import Path

import click

from bamac.cli.main import EXIT_CHECK, emit, say, warn
from bamac.cli.options import check_output, clock_option, json_option, simulation_bar
from bamac.errors import InputError

WAVES = (".fst", ".vcd", ".saif")


def _whole(path):
    """A context with a temporary name for ``path``, which appears whole or not at all."""
    from contextlib import nullcontext

    from bamac import files

    return nullcontext() if path is None else files.new_file(path)


@click.command()
@click.argument("program_dir", metavar="NAME.bamac")
@click.option("--input", "source", metavar="CLIP|FRAMES.npy", required=True,
              help="Audio, or integer frames (rows, cols) or (windows, rows, cols) of any integer "
                   "type.")
@click.option("--model", metavar="FILE", default=None,
              help="The network the program was compiled from; default: the copy in the program.")
@click.option("--waves", metavar="FILE.fst", default=None,
              help="Write waveforms (slow); .vcd and .saif work too.")
@click.option("--trace", "trace_file", metavar="FILE.npz", default=None,
              help="Write what every layer of the hardware computed (one window only).")
@clock_option
@click.option("--build-dir", metavar="FOLDER", type=click.Path(path_type=Path), default=None,
              help="Keep the compiled simulation here and use it again.")
@json_option
def command(program_dir, source, model, waves, trace_file, clock_mhz, build_dir, as_json):
    """Run program NAME.bamac on the simulated RTL and check every layer, score and cycle.

    \b
    Example: bamac simulate paper.bamac --input frames.npy --json
    """
    from bamac import load
    from bamac.ir import trace
    from bamac.result import build_result
    from bamac.verify import simulate_program
    from bamac_hw.program import Program

    if waves and Path(waves).suffix.lower() not in WAVES:
        raise InputError(f"Waves must be a {', '.join(WAVES)} file, not {waves}")
    check_output(waves)
    check_output(trace_file)
    program = Program.load(program_dir)
    network = load.network_of(program_dir, program, model)
    audio = Path(source).suffix != ".npy"
    seconds = None
    if audio:
        frames, seconds = load.frames_of_clip(network.input, network.name, network.front_end,
                                              source, warn)
    else:
        frames = load.frames_of_file(network.input, source)
    if trace_file and len(frames) != 1:
        raise InputError(f"Trace must be of one window, not of {len(frames)}; give an .npy file "
                         "with one")
    if not as_json:
        say(f"simulating {len(frames)} window{'s' if len(frames) > 1 else ''} in Verilator")
    with simulation_bar(as_json) as bar, _whole(waves) as waves_file:
        verified = simulate_program(program, network, frames, build_dir=build_dir,
                                    waves=waves_file, progress=bar)
    result = build_result(network, program, frames, verified, clock_mhz=clock_mhz,
                          seconds=seconds, audio=audio).to_dict()
    if trace_file:
        trace.save(verified.traces[0], trace_file)
    if as_json:
        emit(result)
    else:
        from bamac.report.summary import print_summary

        print_summary(result)
    sys.exit(0 if result["bit_exact"] else EXIT_CHECK)
