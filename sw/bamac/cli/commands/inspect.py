"""Show what is in a program, a model, a trace or a geometry."""

from pathlib import Path

import click

from bamac.cli.main import emit
from bamac.cli.options import json_option


@click.command()
@click.argument("path", metavar="PATH")
@click.option("--listing", is_flag=True, help="Print a program's descriptors in full.")
@json_option
def command(path, listing, as_json):
    """Show a program (NAME.bamac), a model (.onnx, .pt), a trace (.npz), or an array's geometry.

    Networks that ship with bamac are shown by their name, presets of arrays too.

    \b
    Example: bamac inspect paper.bamac
    """
    from bamac import load
    from bamac.report import summary

    if path in _presets() or path.endswith(".toml"):
        from bamac_hw.geometry import Geometry

        about = Geometry.named(path)
        result = {"kind": "geometry", **about.to_dict(), "lanes": about.lanes,
                  "digest": about.digest()}
        text = None
    elif Path(path).is_dir():
        from bamac.perf.cycles import bounds
        from bamac_hw.program import Program

        program = Program.load(path)
        limits = bounds(program)
        result = {"kind": "program", "geometry": program.geometry.to_dict(),
                  "geometry_digest": program.geometry.digest(),
                  "predicted_cycles": int(limits["worst"]["cycles"]),
                  "least_cycles": int(limits["best"]["cycles"]),
                  "predicted_layers": limits["worst"]["layers"], **program.manifest}
        text = program.listing() if listing else lambda: summary.print_program(program, limits)
    elif path.endswith(".npz"):
        from bamac.ir import trace

        about = trace.load(path)
        result = {"kind": "trace", "source": about.source, "network_digest": about.network,
                  "input_digest": about.input,
                  "layers": {name: {kind: list(array.shape) for kind, array in arrays.items()}
                             for name, arrays in about.layers.items()}}
        text = None
    else:
        network = load.load_model(path)
        result = {"kind": "network", **network.describe()}
        text = lambda: summary.print_network(result)  # noqa: E731
    if as_json:
        emit(result)
    elif isinstance(text, str):
        click.echo(text)
    elif text is not None:
        text()
    else:
        summary.print_fields(result)


def _presets():
    from bamac_hw.geometry import Geometry

    return Geometry.presets()
