// MULT18X18D of Lattice ECP5 as Yosys uses it for a product: P = A * B, without a register. SIGNEDA and SIGNEDB tell
// whether an operand is in two's complement or unsigned.
// Source: ECP5 and ECP5-5G sysDSP Usage Guide, FPGA-TN-02205: attributes and their defaults; SOURCEA and SOURCEB at 0
// select the parallel inputs. Registers, shifted inputs and operand C are not described: a cell that uses one of them
// stops the simulation, and one of a parameter that is not listed does not elaborate.
module MULT18X18D (
    input wire A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0,
    input wire B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0,
    input wire C17, C16, C15, C14, C13, C12, C11, C10, C9, C8, C7, C6, C5, C4, C3, C2, C1, C0,
    input wire SIGNEDA, SIGNEDB, SOURCEA, SOURCEB, CLK3, CLK2, CLK1, CLK0, CE3, CE2, CE1, CE0, RST3, RST2, RST1, RST0,
    output wire P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18,
    output wire P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
);
    parameter REG_INPUTA_CLK = "NONE", REG_INPUTA_CE = "CE0", REG_INPUTA_RST = "RST0";
    parameter REG_INPUTB_CLK = "NONE", REG_INPUTB_CE = "CE0", REG_INPUTB_RST = "RST0";
    parameter REG_INPUTC_CLK = "NONE", REG_INPUTC_CE = "CE0", REG_INPUTC_RST = "RST0";
    parameter REG_PIPELINE_CLK = "NONE", REG_PIPELINE_CE = "CE0", REG_PIPELINE_RST = "RST0";
    parameter REG_OUTPUT_CLK = "NONE", REG_OUTPUT_CE = "CE0", REG_OUTPUT_RST = "RST0";
    parameter CLK0_DIV = "ENABLED", CLK1_DIV = "ENABLED", CLK2_DIV = "ENABLED", CLK3_DIV = "ENABLED";
    parameter GSR = "ENABLED", CAS_MATCH_REG = "FALSE", SOURCEB_MODE = "B_SHIFT", MULT_BYPASS = "DISABLED";
    parameter RESETMODE = "SYNC";
    localparam DESCRIBED = REG_INPUTA_CLK == "NONE" && REG_INPUTB_CLK == "NONE" && REG_INPUTC_CLK == "NONE"
        && REG_PIPELINE_CLK == "NONE" && REG_OUTPUT_CLK == "NONE" && CAS_MATCH_REG == "FALSE"
        && SOURCEB_MODE == "B_SHIFT" && MULT_BYPASS == "DISABLED";
    wire [17:0] a = {A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0};
    wire [17:0] b = {B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0};
    wire signed [35:0] wide_a = {{18{SIGNEDA && a[17]}}, a};
    wire signed [35:0] wide_b = {{18{SIGNEDB && b[17]}}, b};
    wire multiplies = !SOURCEA && !SOURCEB;
    assign {P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18,
        P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0}
        = multiplies ? wide_a * wide_b : 36'd0;
`ifdef YOSYS
    generate if (!DESCRIBED) begin
        MULT18X18D_of_other_parameters undescribed ();
    end endgenerate
`else
    initial if (!DESCRIBED) begin
        $display("error: MULT18X18D is modelled as A * B without registers, a cell has other parameters");
        $fatal;
    end
    always @* if (!multiplies) begin
        $display("error: MULT18X18D is modelled with SOURCEA 0 and SOURCEB 0, a cell has %b and %b", SOURCEA, SOURCEB);
        $fatal;
    end
`endif
endmodule

// Block RAM of Lattice ECP5 as Yosys uses it for a memory of which one word is read and one replaced at a clock: port A
// does both in words of 9 or 18 bits, and gives the word before the write, or port A writes and port B reads words of 9, 18 or 36 bits.
// Source: ECP5 and ECP5-5G Memory Usage Guide, FPGA-TN-02204: widths, places of a word and of byte enables in the
// address, write mode READBEFOREWRITE, pseudo dual port. What port B reads of a word that port A replaces at the same
// clock is undefined: here it is inverted, so that what relies on it differs.
// Outputs at the start are not described. Other widths or modes and resets stop the simulation.
module DP16KD (
    input wire DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0,
    input wire ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
    input wire DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0,
    input wire ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
    input wire CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0, CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
    output wire DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0,
    output wire DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0
);
    parameter integer DATA_WIDTH_A = 18, DATA_WIDTH_B = 18;
    parameter ASYNC_RESET_RELEASE = "SYNC", RESETMODE = "SYNC", GSR = "ENABLED";
    parameter CLKAMUX = "CLKA", CLKBMUX = "CLKB", CSDECODE_A = "0b000", CSDECODE_B = "0b000";
    parameter REGMODE_A = "NOREG", REGMODE_B = "NOREG", WRITEMODE_A = "NORMAL", WRITEMODE_B = "NORMAL";
    parameter [319:0] INITVAL_00 = 0, INITVAL_01 = 0, INITVAL_02 = 0, INITVAL_03 = 0, INITVAL_04 = 0, INITVAL_05 = 0;
    parameter [319:0] INITVAL_06 = 0, INITVAL_07 = 0, INITVAL_08 = 0, INITVAL_09 = 0, INITVAL_0A = 0, INITVAL_0B = 0;
    parameter [319:0] INITVAL_0C = 0, INITVAL_0D = 0, INITVAL_0E = 0, INITVAL_0F = 0, INITVAL_10 = 0, INITVAL_11 = 0;
    parameter [319:0] INITVAL_12 = 0, INITVAL_13 = 0, INITVAL_14 = 0, INITVAL_15 = 0, INITVAL_16 = 0, INITVAL_17 = 0;
    parameter [319:0] INITVAL_18 = 0, INITVAL_19 = 0, INITVAL_1A = 0, INITVAL_1B = 0, INITVAL_1C = 0, INITVAL_1D = 0;
    parameter [319:0] INITVAL_1E = 0, INITVAL_1F = 0, INITVAL_20 = 0, INITVAL_21 = 0, INITVAL_22 = 0, INITVAL_23 = 0;
    parameter [319:0] INITVAL_24 = 0, INITVAL_25 = 0, INITVAL_26 = 0, INITVAL_27 = 0, INITVAL_28 = 0, INITVAL_29 = 0;
    parameter [319:0] INITVAL_2A = 0, INITVAL_2B = 0, INITVAL_2C = 0, INITVAL_2D = 0, INITVAL_2E = 0, INITVAL_2F = 0;
    parameter [319:0] INITVAL_30 = 0, INITVAL_31 = 0, INITVAL_32 = 0, INITVAL_33 = 0, INITVAL_34 = 0, INITVAL_35 = 0;
    parameter [319:0] INITVAL_36 = 0, INITVAL_37 = 0, INITVAL_38 = 0, INITVAL_39 = 0, INITVAL_3A = 0, INITVAL_3B = 0;
    parameter [319:0] INITVAL_3C = 0, INITVAL_3D = 0, INITVAL_3E = 0, INITVAL_3F = 0;
    localparam BOTH = DATA_WIDTH_A == 36;
    localparam SHIFT = BOTH ? 5 : DATA_WIDTH_A == 18 ? 4 : 3;
    localparam DESCRIBED = (BOTH || DATA_WIDTH_A == 18 || DATA_WIDTH_A == 9) && (BOTH ? DATA_WIDTH_B == 36 : WRITEMODE_A == "READBEFOREWRITE")
        && CLKAMUX == "CLKA" && CLKBMUX == "CLKB" && CSDECODE_A == "0b000" && CSDECODE_B == "0b000"
        && REGMODE_A == "NOREG" && REGMODE_B == "NOREG";
    localparam PLACE = 14 - SHIFT, BYTES = 1 << (SHIFT - 3);
    localparam [64*320-1:0] DATA = {INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39, INITVAL_38, INITVAL_37,
        INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32, INITVAL_31, INITVAL_30, INITVAL_2F, INITVAL_2E,
        INITVAL_2D, INITVAL_2C, INITVAL_2B, INITVAL_2A, INITVAL_29, INITVAL_28, INITVAL_27, INITVAL_26, INITVAL_25,
        INITVAL_24, INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20, INITVAL_1F, INITVAL_1E, INITVAL_1D, INITVAL_1C,
        INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18, INITVAL_17, INITVAL_16, INITVAL_15, INITVAL_14, INITVAL_13,
        INITVAL_12, INITVAL_11, INITVAL_10, INITVAL_0F, INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A,
        INITVAL_09, INITVAL_08, INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01,
        INITVAL_00};
    wire [13:0] address_a = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0};
    wire [13:0] address_b = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0};
    wire [35:0] data = {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0,
        DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0};
    wire selected = !CSA2 && !CSA1 && !CSA0;
    wire described = !RSTA && !RSTB && !WEB && (BOTH || !CEB || DATA_WIDTH_B == DATA_WIDTH_A) && selected && !CSB2 && !CSB1 && !CSB0;
    wire [3:0] bytes = BOTH ? address_a[3:0] : SHIFT == 4 ? {2'd0, address_a[1:0]} : 4'd1;
    wire [3:0] enables = bytes & {4{CEA && WEA}};
    wire [PLACE-1:0] written = address_a[13:14-PLACE];
    wire [PLACE-1:0] read = BOTH ? address_b[13:14-PLACE] : written;
    reg [35:0] memory [0:(1<<PLACE)-1];
    reg [35:0] word, other;
    wire [PLACE-1:0] read_other = address_b[13:14-PLACE];
    integer number, start;
    initial for (start = 0; start < 2048; start = start + 1)  // bytes of 9 bits, two in 20 bits
        memory[start/BYTES][9*(start%BYTES) +: 9] = DATA[20*(start/2) + 9*(start%2) +: 9];
    always @(posedge CLKA)
        for (number = 0; number < 4; number = number + 1)
            if (enables[number]) memory[written][9*number +: 9] <= data[9*number +: 9];
    generate if (BOTH) begin : reader
        always @(posedge CLKB) if (CEB) word <= |enables && read == written ? ~memory[read] : memory[read];
    end else begin : reader
        always @(posedge CLKA) if (CEA) word <= memory[read];
        always @(posedge CLKB) if (CEB) other <= |enables && read_other == written ? ~memory[read_other] : memory[read_other];
    end endgenerate
    assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0,
        DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0} = BOTH ? word : {other[17:0], word[17:0]};
`ifdef YOSYS
    generate if (!DESCRIBED) begin
        DP16KD_of_other_parameters undescribed ();
    end endgenerate
`else
    initial if (!DESCRIBED) begin
        $display("error: DP16KD is modelled with one width and READBEFOREWRITE or two ports of 36 bits, a cell has %0d, %0d",
                 DATA_WIDTH_A, DATA_WIDTH_B);
        $fatal;
    end
    always @* if (!described) begin
        $display("error: DP16KD is modelled without resets, chip selects and writes of port B, a cell has one");
        $fatal;
    end
`endif
endmodule
