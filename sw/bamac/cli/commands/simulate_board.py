"""Simulate a board, with its serial port as a pseudo-terminal."""

import click

from bamac.cli.main import emit, say
from bamac.cli.options import json_option


@click.command()
@click.argument("board", metavar="ulx3s|icebreaker")
@click.option("--array", metavar="NAME|FILE.toml", default=None,
              help="Array preset or a geometry file; default: the board's.")
@click.option("--baud", metavar="N", type=click.IntRange(1), default=None,
              help="Of the serial port, up to a quarter of the board's clock; default: 1000000.")
@click.option("--build-dir", metavar="FOLDER", type=click.Path(), default=None,
              help="Keep the compiled simulation here and use it again.")
@json_option
def command(board, array, baud, build_dir, as_json):
    """Simulate the complete design of a board, and print the port that 'bamac host' opens.

    It runs until Ctrl-C. The higher the baud rate, the fewer cycles are simulated.

    \b
    Example: bamac simulate-board icebreaker --baud 3000000
    """
    from bamac_hw.boards import Board
    from bamac_hw.geometry import Geometry
    from bamac_sim.board import build_board, running_board

    board = Board.named(board)
    geometry = Geometry.named(array or board.array)
    if not as_json:
        say(f"building {board.title} with array {geometry.name} in Verilator")
    built = build_board(board, geometry, baud=baud, build_dir=build_dir)
    with running_board(built) as simulated:
        if as_json:
            emit({"board": board.name, "array": geometry.name, "port": simulated.port,
                  "baud": baud or board.baud, "cycles_per_bit": built.cycles})
        else:
            click.echo(simulated.port)
            say("running; talk to it with 'bamac host NAME.bamac CLIP --port "
                f"{simulated.port}', stop with Ctrl-C")
        simulated.wait()
