// Behaviour of ECP5's block RAM, of which Yosys has the interface alone: 2048 bytes of 9 bits.
// Widths and the order of bits are those of Yosys' map (lattice/brams_map_16kd.v).
// A port of 36 bits writes with A and reads with B. Not here, and refused by bamac.fpga.gates:
// resets, output registers, the write mode WRITETHROUGH, two clocks.

module DP16KD(
  input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4,
        DIA3, DIA2, DIA1, DIA0,
  input ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
  input CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
  output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5,
         DOA4, DOA3, DOA2, DOA1, DOA0,
  input DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4,
        DIB3, DIB2, DIB1, DIB0,
  input ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
  input CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
  output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5,
         DOB4, DOB3, DOB2, DOB1, DOB0
);
  parameter DATA_WIDTH_A = 18, DATA_WIDTH_B = 18;
  parameter REGMODE_A = "NOREG", REGMODE_B = "NOREG";
  parameter RESETMODE = "SYNC", ASYNC_RESET_RELEASE = "SYNC";
  parameter CSDECODE_A = "0b000", CSDECODE_B = "0b000";
  parameter WRITEMODE_A = "NORMAL", WRITEMODE_B = "NORMAL";
  parameter CLKAMUX = "CLKA", CLKBMUX = "CLKB", GSR = "ENABLED";
  parameter [319:0]
            INITVAL_00 = 0, INITVAL_01 = 0, INITVAL_02 = 0, INITVAL_03 = 0,
            INITVAL_04 = 0, INITVAL_05 = 0, INITVAL_06 = 0, INITVAL_07 = 0,
            INITVAL_08 = 0, INITVAL_09 = 0, INITVAL_0A = 0, INITVAL_0B = 0,
            INITVAL_0C = 0, INITVAL_0D = 0, INITVAL_0E = 0, INITVAL_0F = 0,
            INITVAL_10 = 0, INITVAL_11 = 0, INITVAL_12 = 0, INITVAL_13 = 0,
            INITVAL_14 = 0, INITVAL_15 = 0, INITVAL_16 = 0, INITVAL_17 = 0,
            INITVAL_18 = 0, INITVAL_19 = 0, INITVAL_1A = 0, INITVAL_1B = 0,
            INITVAL_1C = 0, INITVAL_1D = 0, INITVAL_1E = 0, INITVAL_1F = 0,
            INITVAL_20 = 0, INITVAL_21 = 0, INITVAL_22 = 0, INITVAL_23 = 0,
            INITVAL_24 = 0, INITVAL_25 = 0, INITVAL_26 = 0, INITVAL_27 = 0,
            INITVAL_28 = 0, INITVAL_29 = 0, INITVAL_2A = 0, INITVAL_2B = 0,
            INITVAL_2C = 0, INITVAL_2D = 0, INITVAL_2E = 0, INITVAL_2F = 0,
            INITVAL_30 = 0, INITVAL_31 = 0, INITVAL_32 = 0, INITVAL_33 = 0,
            INITVAL_34 = 0, INITVAL_35 = 0, INITVAL_36 = 0, INITVAL_37 = 0,
            INITVAL_38 = 0, INITVAL_39 = 0, INITVAL_3A = 0, INITVAL_3B = 0,
            INITVAL_3C = 0, INITVAL_3D = 0, INITVAL_3E = 0, INITVAL_3F = 0;

  localparam [20479:0] INIT =
    {INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A,
    INITVAL_39, INITVAL_38, INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34,
    INITVAL_33, INITVAL_32, INITVAL_31, INITVAL_30, INITVAL_2F, INITVAL_2E,
    INITVAL_2D, INITVAL_2C, INITVAL_2B, INITVAL_2A, INITVAL_29, INITVAL_28,
    INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24, INITVAL_23, INITVAL_22,
    INITVAL_21, INITVAL_20, INITVAL_1F, INITVAL_1E, INITVAL_1D, INITVAL_1C,
    INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18, INITVAL_17, INITVAL_16,
    INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10,
    INITVAL_0F, INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A,
    INITVAL_09, INITVAL_08, INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04,
    INITVAL_03, INITVAL_02, INITVAL_01, INITVAL_00};

  reg [8:0] bytes [0:2047];
  integer i;
  initial for (i = 0; i < 2048; i = i + 1)
    bytes[i] = INIT[(i / 2) * 20 + (i % 2) * 9 +: 9];

  wire [13:0] ada = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2,
                     ADA1, ADA0};
  wire [13:0] adb = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2,
                     ADB1, ADB0};
  wire [17:0] dia = {DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7,
                     DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0};
  wire [17:0] dib = {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7,
                     DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0};
  reg [17:0] doa = 0, dob = 0;
  reg [17:0] wide = 0;  // upper half of a read of 36 bits
  assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5,
          DOA4, DOA3, DOA2, DOA1, DOA0} = DATA_WIDTH_B == 36 ? dob : doa;
  assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5,
          DOB4, DOB3, DOB2, DOB1, DOB0} = DATA_WIDTH_B == 36 ? wide : dob;

  // Words of 1, 2 and 4 bits lie in the lower eight bits of a byte.
  function [8:0] mask(input integer width);
    mask = width == 1 ? 9'h001 : width == 2 ? 9'h003 : width == 4 ? 9'h00f : 9'h1ff;
  endfunction
  function [2:0] place(input integer width, input [13:0] address);
    place = width == 1 ? address[2:0] : width == 2 ? {address[2:1], 1'b0}
          : width == 4 ? {address[2], 2'b00} : 3'b0;
  endfunction
  function [8:0] part(input integer width, input [13:0] address);
    part = (bytes[address[13:3]] >> place(width, address)) & mask(width);
  endfunction
  function [8:0] changed(input integer width, input [13:0] address, input [8:0] data);
    changed = (bytes[address[13:3]] & ~(mask(width) << place(width, address)))
            | ((data & mask(width)) << place(width, address));
  endfunction

  // Both ports have one clock. They read what was there before its edge.
  reg [17:0] old_a, old_b, old_wide;
  always @(posedge CLKA) begin
    old_a = DATA_WIDTH_A < 18 ? {9'b0, part(DATA_WIDTH_A, ada)}
                              : {bytes[{ada[13:4], 1'b1}], bytes[{ada[13:4], 1'b0}]};
    old_b = DATA_WIDTH_B < 18 ? {9'b0, part(DATA_WIDTH_B, adb)}
          : DATA_WIDTH_B == 18 ? {bytes[{adb[13:4], 1'b1}], bytes[{adb[13:4], 1'b0}]}
                               : {bytes[{adb[13:5], 2'd1}], bytes[{adb[13:5], 2'd0}]};
    old_wide = {bytes[{adb[13:5], 2'd3}], bytes[{adb[13:5], 2'd2}]};
    if (CEA && WEA) begin
      if (DATA_WIDTH_A < 18)
        bytes[ada[13:3]] = changed(DATA_WIDTH_A, ada, dia[8:0]);
      else if (DATA_WIDTH_A == 18) begin
        if (ada[0]) bytes[{ada[13:4], 1'b0}] = dia[8:0];
        if (ada[1]) bytes[{ada[13:4], 1'b1}] = dia[17:9];
      end else begin
        if (ada[0]) bytes[{ada[13:5], 2'd0}] = dia[8:0];
        if (ada[1]) bytes[{ada[13:5], 2'd1}] = dia[17:9];
        if (ada[2]) bytes[{ada[13:5], 2'd2}] = dib[8:0];
        if (ada[3]) bytes[{ada[13:5], 2'd3}] = dib[17:9];
      end
    end
    if (CEB && WEB) begin
      if (DATA_WIDTH_B < 18)
        bytes[adb[13:3]] = changed(DATA_WIDTH_B, adb, dib[8:0]);
      else begin
        if (adb[0]) bytes[{adb[13:4], 1'b0}] = dib[8:0];
        if (adb[1]) bytes[{adb[13:4], 1'b1}] = dib[17:9];
      end
    end
    if (CEA && (!WEA || WRITEMODE_A == "READBEFOREWRITE")) doa <= old_a;
    if (CEB && (!WEB || WRITEMODE_B == "READBEFOREWRITE")) begin
      dob <= old_b;
      wide <= old_wide;
    end
  end
endmodule
