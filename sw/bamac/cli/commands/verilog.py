"""Write the accelerator as Verilog."""

from pathlib import Path

import click

from bamac.cli.main import emit, say
from bamac.cli.options import check_output, json_option


@click.command()
@click.option("--array", metavar="NAME|FILE.toml", default=None,
              help="Array preset (tiny, small, large) or a geometry file; default: the program's, "
                   "or small.")
@click.option("--program", "program_dir", metavar="NAME.bamac", default=None,
              help="Put this program into the memories' initial contents.")
@click.option("-o", "--output", metavar="FILE.v", default="bamac_accelerator.v", show_default=True)
@click.option("--family", type=click.Choice(["ecp5"]), default=None,
              help="Build pair lanes from this family's carry cells (`bamac synth` does it by "
                   "itself).")
@click.option("--project", is_flag=True,
              help="Write beside it: a FuseSoC core, constraints (.sdc, .xdc, .lpf, .pcf), an "
                   "instantiation template and the registers (.md, .h).")
@click.option("--clock-mhz", type=click.FloatRange(min=0, min_open=True), default=25.0,
              show_default=True, help="Clock for the constraints.")
@json_option
def command(array, program_dir, output, family, project, clock_mhz, as_json):
    """Write stand-alone Verilog of the accelerator for one array.

    \b
    Example: bamac verilog --array small -o accelerator.v --project
    """
    from bamac.files import write_text
    from bamac.fpga.project import project_files
    from bamac_hw.geometry import Geometry
    from bamac_hw.program import Program
    from bamac_hw.verilog import TOP, write_verilog

    check_output(output)
    program = Program.load(program_dir) if program_dir else None
    if array is not None or program is None:
        geometry = Geometry.named(array or "small")
    else:
        geometry = program.geometry
    write_verilog(geometry, output, program=program, family=family)
    beside = {}
    if project:
        output = Path(output)
        beside = project_files(output.read_text(encoding="utf-8"), output.name,
                               clock_mhz=clock_mhz)
        for name, text in beside.items():
            write_text(output.parent / name, text)
    result = {"output": str(output), "project_files": sorted(beside), "top": TOP,
              "geometry": geometry.to_dict(), "geometry_digest": geometry.digest(),
              "program": program_dir}
    if as_json:
        emit(result)
    else:
        say(f"module {TOP} for array {geometry.name} written to {output}"
            + (f", with {len(beside)} project files" if beside else ""))
