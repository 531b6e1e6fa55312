"""Write the accelerator as Verilog."""

import click

from bamac.cli import emit, say
from bamac.options import check_output, json_option


@click.command()
@click.option("--array", metavar="NAME|FILE.toml", default=None,
              help="Array preset (tiny, small, large) or a geometry file; default: the program's, "
                   "or small.")
@click.option("--program", "program_dir", metavar="NAME.bamac", default=None,
              help="Put this program into the memories' initial contents.")
@click.option("-o", "--output", metavar="FILE.v", default="bamac_accelerator.v", show_default=True)
@json_option
def command(array, program_dir, output, as_json):
    """Write stand-alone Verilog of the accelerator for one array.

    \b
    Example: bamac verilog --array small -o accelerator.v
    """
    from bamac_hw.geometry import Geometry
    from bamac_hw.program import Program
    from bamac_hw.verilog import TOP, write_verilog

    check_output(output)
    program = Program.load(program_dir) if program_dir else None
    if array is not None or program is None:
        geometry = Geometry.named(array or "small")
    else:
        geometry = program.geometry
    write_verilog(geometry, output, program=program)
    result = {"output": str(output), "top": TOP, "geometry": geometry.to_dict(),
              "geometry_digest": geometry.digest(), "program": program_dir}
    if as_json:
        emit(result)
    else:
        say(f"module {TOP} for array {geometry.name} written to {output}")
