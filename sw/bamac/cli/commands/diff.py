"""Name the first place where two traces differ."""

import sys
from dataclasses import asdict

import click

from bamac.cli.main import EXIT_CHECK, emit
from bamac.cli.options import json_option


def _tile(_ctx, _param, value):
    if value is None:
        return None
    parts = value.lower().split("x")
    if len(parts) != 2 or not all(p.isdigit() and int(p) > 0 for p in parts):
        raise click.BadParameter(f"must be ROWSxCOLS, such as 2x2, not {value!r}")
    return int(parts[0]), int(parts[1])


@click.command()
@click.argument("first", metavar="A.npz")
@click.argument("second", metavar="B.npz")
@click.option("--tile", metavar="ROWSxCOLS", callback=_tile, default=None,
              help="Also name the array's tile.")
@json_option
def command(first, second, tile, as_json):
    """Compare two traces, of the reference or of the hardware, in execution order.

    Exit code 0 if they are equal, 1 if not.

    \b
    Example: bamac diff hardware.npz reference.npz --tile 2x2
    """
    from bamac.ir import trace

    found = trace.first_divergence(trace.load(first), trace.load(second), tile=tile)
    if as_json:
        emit({"equal": found is None, "first": None if found is None else asdict(found)})
    else:
        click.echo("equal" if found is None else str(found))
    sys.exit(0 if found is None else EXIT_CHECK)
