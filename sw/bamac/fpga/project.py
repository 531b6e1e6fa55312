"""What FPGA tools expect around Verilog: a FuseSoC core, constraints, a template, the registers."""

from bamac_hw.abi import register_map
from bamac_hw.verilog import TOP

from .shell import ports

__all__ = ["project_files"]


def project_files(verilog, file_name, *, clock_mhz):
    """File names and texts that belong beside the Verilog file ``file_name``.

    Parameters
    ----------
    verilog : str
        Text of the Verilog.
    file_name : str
        Its name, without folders.
    clock_mhz : float
        Clock for the constraints.
    """
    stem = file_name.rsplit(".", 1)[0]
    period = 1000 / clock_mhz
    comment = f"clock of the accelerator: {clock_mhz:g} MHz"
    sdc = f"# {comment}\ncreate_clock -name clk -period {period:.3f} [get_ports clk]\n"
    return {
        f"{stem}.core": _core(stem, file_name),
        f"{stem}.sdc": sdc,
        f"{stem}.xdc": sdc,
        f"{stem}.lpf": f"# {comment}\nFREQUENCY PORT \"clk\" {clock_mhz:g} MHZ;\n",
        f"{stem}.pcf": f"# {comment}\nset_frequency clk {clock_mhz:g}\n",
        f"{stem}_template.v": _template(verilog),
        f"{stem}_registers.md": register_map.markdown(),
        f"{stem}_registers.h": register_map.c_header(),
    }


def _core(stem, file_name):
    return f"""CAPI=2:
name: bamac:accelerator:{stem}:0.1.0
description: Accelerator for networks with binary activation maps and int8 weights

filesets:
  rtl:
    files:
      - {file_name}
    file_type: verilogSource
  constraints:
    files:
      - {stem}.sdc: {{file_type: SDC}}
      - {stem}.xdc: {{file_type: xdc}}
      - {stem}.lpf: {{file_type: LPF}}
      - {stem}.pcf: {{file_type: PCF}}

targets:
  default: &default
    filesets: [rtl]
    toplevel: {TOP}
  lint:
    <<: *default
    default_tool: verilator
    tools:
      verilator:
        mode: lint-only
  constrained:
    <<: *default
    filesets: [rtl, constraints]
"""


def _template(verilog):
    pins = ports(verilog, TOP)
    lines = ["// Copy into your design and connect.", f"{TOP} accelerator ("]
    for number, (direction, width, name) in enumerate(pins):
        comma = "," if number + 1 < len(pins) else ""
        size = f"[{width - 1}:0]" if width > 1 else ""
        lines.append(f"    .{name}(){comma}  // {direction} {size}".rstrip())
    return "\n".join([*lines, ");"]) + "\n"
