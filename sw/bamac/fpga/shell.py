"""A serial shell for designs with more pins than the package has.

Inputs come from a shift register, outputs go into another one that is loaded and shifted out, so
that every path of the design keeps both its ends and nothing is optimised away. Five pins remain.
The shell is a module of its own in every table; it is no host interface.
"""

import re

__all__ = ["INSIDE", "PINS", "SHELL", "ports", "wrap"]

SHELL = "bamac_pin_shell"
INSIDE = "design_in_shell"  # name of the design's instance
PINS = 5  # clk, rst, serial in, serial out, load

_PORT = re.compile(r"^  (input|output) (?:\[(\d+):0\] )?(\w+) ?;", re.M)


def ports(verilog, top):
    """``(direction, width, name)`` of each port of module ``top``."""
    start = verilog.index(f"module {top}(")
    body = verilog[start:verilog.index("\nendmodule", start)]
    return [(direction, int(high or 0) + 1, name)
            for direction, high, name in _PORT.findall(body)]


def wrap(verilog, top):
    """``(verilog, top)`` of the design in its shell."""
    pins = [port for port in ports(verilog, top) if port[2] not in ("clk", "rst")]
    inputs = [(width, name) for direction, width, name in pins if direction == "input"]
    outputs = [(width, name) for direction, width, name in pins if direction == "output"]
    n, k = sum(width for width, _ in inputs), sum(width for width, _ in outputs)
    connections, at = ["    .clk(clk), .rst(rst)"], 0
    for width, name in inputs:
        connections.append(f"    .{name}(from_pins[{at + width - 1}:{at}])")
        at += width
    at = 0
    for width, name in outputs:
        connections.append(f"    .{name}(to_pins[{at + width - 1}:{at}])")
        at += width
    joined = ",\n".join(connections)
    text = f"""
module {SHELL}(clk, rst, serial_in, load, serial_out);
  input clk;
  input rst;
  input serial_in;
  input load;
  output serial_out;
  reg [{n - 1}:0] from_pins = {n}'d0;
  reg [{k - 1}:0] captured = {k}'d0;
  wire [{k - 1}:0] to_pins;
  assign serial_out = captured[{k - 1}];
  always @(posedge clk) begin
    from_pins <= {{from_pins[{n - 2}:0], serial_in}};
    captured <= load ? to_pins : {{captured[{k - 2}:0], serial_in}};
  end
  {top} {INSIDE} (
{joined}
  );
endmodule
"""
    return verilog + text, SHELL
