"""Write a trained network as a QONNX file."""

from pathlib import Path

import click

from bamac.cli.main import emit, say
from bamac.cli.options import check_output, json_option


@click.command()
@click.argument("model")
@click.option("-o", "--output", metavar="FILE.onnx", default=None,
              help="Default: the model's name with .onnx, in the current folder.")
@json_option
def command(model: str, output: str | None, as_json: bool) -> None:
    """Write MODEL (.pt, or .onnx to normalise it) as QONNX that any executor computes exactly.

    \b
    Example: bamac export runs/paper/best.pt -o paper.onnx
    """
    from bamac.load import load_model
    from bamac.qonnx import exporter as qonnx_export

    output = output or f"{Path(model).stem}.onnx"
    check_output(output)
    network = load_model(model)
    qonnx_export.export(network, output)
    result = {"output": str(output), "network": network.name, "digest": network.digest(),
              "layers": [layer.name for layer in network.layers]}
    if as_json:
        emit(result)
    else:
        say(f"{network.name}: {len(network.layers)} layers written to {output}")
