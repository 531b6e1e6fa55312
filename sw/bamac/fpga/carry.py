"""Carry chains of ECP5 without the cells that nextpnr would add to both their ends.

nextpnr brings the carry into a chain from a LUT, and out of one into another, whenever either is
connected: two LUTs each. Yosys connects both always: a constant at the begin, and at the end a net
that nothing reads. With 128 accumulators that is a tenth of the whole design.
"""

from collections import Counter

__all__ = ["CHAIN_START", "drop_unread_carries"]

# The first half of a chain's first cell makes its carry out of two operands alone, whatever comes
# in: LUT4 reads the upper half of INIT0, which is zero, and LUT2 its lowest four bits (Lattice
# FPGA-TN-02200). The sum bit has a LUT of its own.
CHAIN_START = """\
module CCU2C (CIN, A0, B0, C0, D0, A1, B1, C1, D1, S0, S1, COUT);
  parameter [15:0] INIT0 = 16'h0;
  parameter [15:0] INIT1 = 16'h0;
  parameter INJECT1_0 = "YES";
  parameter INJECT1_1 = "YES";
  input CIN, A0, B0, C0, D0, A1, B1, C1, D1;
  output S0, S1, COUT;
  parameter _TECHMAP_CONSTMSK_CIN_ = 1'b0;
  parameter _TECHMAP_CONSTVAL_CIN_ = 1'bx;
  parameter _TECHMAP_CONSTMSK_C0_ = 1'b0;
  parameter _TECHMAP_CONSTVAL_C0_ = 1'bx;
  parameter _TECHMAP_CONSTMSK_D0_ = 1'b0;
  parameter _TECHMAP_CONSTVAL_D0_ = 1'bx;
  wire _TECHMAP_FAIL_ = !(_TECHMAP_CONSTMSK_CIN_ && _TECHMAP_CONSTMSK_C0_
                          && _TECHMAP_CONSTMSK_D0_)
                        || INJECT1_0 != "NO" || INIT0[15:4] == 0;
  localparam [3:0] SUM = INIT0 >> {_TECHMAP_CONSTVAL_D0_, _TECHMAP_CONSTVAL_C0_, 2'b00};
  localparam [3:0] CARRY = _TECHMAP_CONSTVAL_CIN_ ? INIT0[3:0] | SUM : INIT0[3:0] & ~SUM;
  LUT4 #(.INIT({4{_TECHMAP_CONSTVAL_CIN_ ? ~SUM : SUM}})) sum (
    .A(A0), .B(B0), .C(1'b0), .D(1'b0), .Z(S0));
  CCU2C #(.INIT0({12'b0, CARRY}), .INIT1(INIT1), .INJECT1_0("NO"), .INJECT1_1(INJECT1_1)) carry (
    .CIN(1'bx), .A0(A0), .B0(B0), .C0(1'b1), .D0(1'b1),
    .A1(A1), .B1(B1), .C1(C1), .D1(D1), .S1(S1), .COUT(COUT));
endmodule
"""


def drop_unread_carries(module):
    """Disconnect, in a module of a netlist in Yosys' JSON, each carry out that nothing reads.

    Returns
    -------
    int
        How many there were.
    """
    cells = module["cells"]
    read = Counter(bit for cell in cells.values() for port, bits in cell["connections"].items()
                   if cell["port_directions"][port] == "input" for bit in bits)
    read.update(bit for port in module["ports"].values() for bit in port["bits"])
    dropped = 0
    for cell in cells.values():
        if cell["type"] == "CCU2C" and not read[cell["connections"]["COUT"][0]]:
            cell["connections"]["COUT"] = ["x"]
            dropped += 1
    return dropped
