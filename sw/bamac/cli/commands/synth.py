"""Synthesise, place and route for an FPGA: resources, timing, bitstream."""

import sys
from pathlib import Path

import click

from bamac.cli.main import EXIT_CHECK, emit, say
from bamac.cli.options import check_output, json_option


@click.command()
@click.argument("program_dir", metavar="NAME.bamac", required=False)
@click.option("--target", metavar="NAME", default=None,
              help="ecp5-25k, ecp5-45k, ecp5-85k, ice40-up5k, or xc7 (synthesis only).")
@click.option("--board", metavar="NAME", default=None,
              help="Instead of a target: the complete design for ulx3s or icebreaker, with pins, "
                   "clock, and the serial port that 'bamac host' talks to.")
@click.option("--baud", metavar="N", type=click.IntRange(1), default=None,
              help="Of the board's serial port; default: 1000000.")
@click.option("--array", metavar="NAME|FILE.toml", default=None,
              help="Instead of a program: an array preset or a geometry file; default with "
                   "--board: the board's.")
@click.option("--seeds", metavar="N", type=click.IntRange(1, 1000), default=1, show_default=True,
              help="Placer seeds to try; median and spread are reported.")
@click.option("--seed-limit", metavar="SECONDS", type=click.FloatRange(1), default=None,
              help="Time after which a seed is given up, and the next begins; default: 1200.")
@click.option("--clock-mhz", type=float, default=None,
              help="Clock that must be met; default: the target's, or the board's.")
@click.option("-o", "--output", metavar="FILE", default=None,
              help="Write the bitstream of the best seed here.")
@click.option("--cache", "cache_dir", metavar="FOLDER", type=click.Path(path_type=Path),
              default=None, help="Where results are kept; default: ~/.cache/bamac/fpga.")
@json_option
def command(program_dir, target, board, baud, array, seeds, seed_limit, clock_mhz, output,
            cache_dir, as_json):
    """Implement the accelerator with Yosys and nextpnr, and say what it costs.

    Steps that are done are kept, so an interrupted run goes on where it was. Exit code 1 means
    that the clock is not met, or that every seed was given up.

    \b
    Example: bamac synth paper.bamac --target ecp5-25k --seeds 3 -o paper.bit
    Example: bamac synth --board icebreaker -o icebreaker.bin
    """
    from bamac.files import write_bytes
    from bamac.fpga import SEED_LIMIT, implement
    from bamac.fpga.cache import Cache
    from bamac.fpga.targets import Target
    from bamac.report.fpga import print_implementation, progress_display
    from bamac_hw.boards import Board
    from bamac_hw.geometry import Geometry
    from bamac_hw.program import Program

    if (target is None) == (board is None):
        raise click.UsageError("Give --target, or --board")
    if board is None and baud is not None:
        raise click.UsageError("--baud is of a board's serial port: give --board")
    board = Board.named(board) if board else None
    if board and program_dir is None and array is None:
        array = board.array
    if (program_dir is None) == (array is None):
        raise click.UsageError("Give a program (NAME.bamac), or --array")
    check_output(output)
    device = Target.named(board.target if board else target)
    if output and not device.placed:
        raise click.UsageError(f"There is no bitstream for {target}: it stops after synthesis")
    program = Program.load(program_dir) if program_dir else None
    geometry = program.geometry if program else Geometry.named(array)
    with progress_display(as_json) as progress:
        result = implement(geometry, device, board=board, baud=baud, program=program, seeds=seeds,
                           seed_limit=seed_limit or SEED_LIMIT, clock_mhz=clock_mhz,
                           cache=Cache(cache_dir), progress=progress)
    if output and result["timing_met"]:
        write_bytes(output, Path(result["bitstream"]).read_bytes())
    if as_json:
        emit(result)
    else:
        print_implementation(result)
    if result["timing_met"] is False:
        best = next(run for run in result["seeds"] if run["seed"] == result["best"])
        path = best["path"] or {"from": "?", "to": "?"}
        say(f"timing missed: {best['fmax_mhz']:g} MHz of {result['target']['clock_mhz']:g} MHz; "
            f"slowest path from {path['from']} to {path['to']}"
            + (f"; {output} was not written" if output else ""))
        sys.exit(EXIT_CHECK)
    if output:
        say(f"bitstream of seed {result['best']} written to {output}")
