"""Run a program on a board, over its serial port."""

import sys

import click

from bamac.cli.main import EXIT_CHECK, emit, say, warn
from bamac.cli.options import json_option, transfer_bar


@click.command()
@click.argument("program_dir", metavar="NAME.bamac")
@click.argument("source", metavar="CLIP|FRAMES.npy", required=False)
@click.option("--port", metavar="DEVICE", required=True,
              help="Serial port of the board, such as /dev/ttyUSB1; or the one that "
                   "'bamac simulate-board' prints.")
@click.option("--baud", metavar="N", type=click.IntRange(1), default=1_000_000, show_default=True,
              help="As the bitstream was made for.")
@click.option("--timeout", metavar="SECONDS", type=click.FloatRange(min=0, min_open=True),
              default=5.0, show_default=True,
              help="Give up when the board says nothing for so long.")
@click.option("--check", is_flag=True,
              help="Compare scores with the integer reference, and counters with the model.")
@click.option("--model", metavar="FILE", default=None,
              help="The network the program was compiled from; default: the copy in the program.")
@json_option
def command(program_dir, source, port, baud, timeout, check, model, as_json):
    """Load program NAME.bamac into a board and score CLIP, a wav, flac or ogg, or integer frames.

    Features are computed here; the board gets frames, and gives the score and what it counted.
    Without CLIP, the program is loaded and nothing else. Exit code 1: --check found a difference.

    \b
    Example: bamac host paper.bamac speech.wav --port /dev/ttyUSB1 --check
    """
    from bamac import host, load
    from bamac.host import compare
    from bamac_hw.program import Program

    if source is None and check:
        raise click.UsageError("Nothing to check without a clip")
    program = Program.load(program_dir)
    network = frames = None
    if source is not None:
        network = load.network_of(program_dir, program, model)
        if str(source).endswith(".npy"):
            frames = load.frames_of_file(network.input, source)
        else:
            frames, _ = load.frames_of_clip(network.input, network.name, network.front_end,
                                            source, warn)
    with host.Link(port, baud=baud, timeout=timeout) as link:
        session = host.Session(link, program)
        if not as_json:
            say(f"array {program.geometry.name} found on {port}; loading "
                f"{session.load_bytes / 1000:.1f} kB")
        with transfer_bar(as_json, "loading", session.load_bytes, "bytes") as bar:
            session.load(bar)
        if frames is None:
            result = {"port": port, "array": program.geometry.name,
                      "loaded_bytes": session.load_bytes}
            if as_json:
                emit(result)
            return
        with transfer_bar(as_json, "scoring", frames.shape[0] * frames.shape[-2], "frames") as bar:
            run = session.run(frames, bar)
    result = compare.describe(program, network, frames, run, check=check)
    result |= {"port": port}
    if as_json:
        emit(result)
    else:
        from bamac.report.board import print_board_run

        print_board_run(result)
    sys.exit(EXIT_CHECK if result["differences"] else 0)
