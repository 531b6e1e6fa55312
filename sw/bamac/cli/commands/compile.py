"""Compile a network into a program for one array."""

from pathlib import Path

import click

from bamac.cli.main import emit
from bamac.cli.options import array_option, json_option


@click.command()
@click.argument("model")
@array_option
@click.option("-o", "--output", metavar="NAME.bamac", default=None,
              help="Default: the model's name with .bamac, in the current folder.")
@json_option
def command(model, array, output, as_json):
    """Compile MODEL (.onnx or .pt) into a program folder: memory images, manifest and listing.

    The same model and array always give the same bytes. A network that does not fit, or a layer
    that cannot be mapped exactly, is refused with the size needed.

    \b
    Example: bamac compile paper.onnx --array small -o paper.bamac
    """
    from bamac import load
    from bamac.compiler import compile_network
    from bamac.perf.cycles import bounds
    from bamac_hw.geometry import Geometry

    output = Path(output or f"{Path(model).stem}.bamac")
    geometry = Geometry.named(array)
    network = load.load_model(model)
    program = compile_network(network, geometry)
    load.save_program(program, network, output)
    limits = bounds(program)
    result = {"output": str(output), "network": network.name,
              "network_digest": network.digest(), "geometry": geometry.to_dict(),
              "geometry_digest": geometry.digest(),
              "predicted_cycles": int(limits["worst"]["cycles"]),
              "least_cycles": int(limits["best"]["cycles"]),
              "predicted_layers": limits["worst"]["layers"], **program.manifest}
    result["network"] = program.manifest["network"]
    if as_json:
        emit(result)
        return
    from bamac.report.summary import print_program

    print_program(program, limits)
    click.echo(f"program written to {output}", err=True)
