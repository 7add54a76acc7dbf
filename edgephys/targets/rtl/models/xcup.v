// DSP48E2 of AMD UltraScale+ as Yosys uses it for a product: P = A * B in two's complement, without a register.
// Source: UltraScale Architecture DSP Slice user guide, UG579: attributes and their defaults, the multiplier of 27 by
// 18 bits, OPMODE 000000101 (X and Y are the product, Z and W are 0), ALUMODE 0000 (their sum), INMODE 00000 (A2, B2).
// Registers, cascades, the pre-adder, C and the other modes of the ALU are not described: a cell that uses one of them
// stops the simulation, and one of another parameter does not elaborate.
module DSP48E2 (
    input wire [29:0] A, ACIN,
    input wire [17:0] B, BCIN,
    input wire [47:0] C, PCIN,
    input wire [26:0] D,
    input wire [4:0] INMODE,
    input wire [3:0] ALUMODE,
    input wire [8:0] OPMODE,
    input wire [2:0] CARRYINSEL,
    input wire CARRYIN,
    output wire [47:0] P
);
    parameter integer ACASCREG = 1, ADREG = 1, ALUMODEREG = 1, AREG = 1, BCASCREG = 1, BREG = 1, CARRYINREG = 1;
    parameter integer CARRYINSELREG = 1, CREG = 1, DREG = 1, INMODEREG = 1, MREG = 1, OPMODEREG = 1, PREG = 1;
    parameter AMULTSEL = "A", A_INPUT = "DIRECT", BMULTSEL = "B", B_INPUT = "DIRECT";
    parameter USE_MULT = "MULTIPLY", USE_SIMD = "ONE48";
    localparam DESCRIBED = ACASCREG == 0 && ADREG == 0 && ALUMODEREG == 0 && AREG == 0 && BCASCREG == 0 && BREG == 0
        && CARRYINREG == 0 && CARRYINSELREG == 0 && CREG == 0 && DREG == 0 && INMODEREG == 0 && MREG == 0
        && OPMODEREG == 0 && PREG == 0 && AMULTSEL == "A" && A_INPUT == "DIRECT" && BMULTSEL == "B"
        && B_INPUT == "DIRECT" && USE_MULT == "MULTIPLY" && USE_SIMD == "ONE48";
    wire multiplies = INMODE == 5'd0 && ALUMODE == 4'd0 && OPMODE == 9'd5 && CARRYINSEL == 3'd0 && !CARRYIN;
    wire signed [26:0] a = A[26:0];
    wire signed [17:0] b = B;
    wire signed [47:0] product = a * b;
    assign P = multiplies ? product : 48'd0;
`ifdef YOSYS
    generate if (!DESCRIBED) begin
        DSP48E2_of_other_parameters undescribed ();
    end endgenerate
`else
    initial if (!DESCRIBED) begin
        $display("error: DSP48E2 is modelled as A * B without registers, a cell has other parameters");
        $fatal;
    end
    always @* if (!multiplies) begin
        $display("error: DSP48E2 is modelled with OPMODE 005, INMODE 00, ALUMODE 0 and no carry, a cell has %h, %h, %h",
                 OPMODE, INMODE, ALUMODE);
        $fatal;
    end
`endif
endmodule

// Block RAM of AMD UltraScale+ as Yosys uses it for a memory of which one word is read and one replaced at a clock:
// port A does both, or one port reads and the other writes words of the same width; read data are those before the write.
// Source: UltraScale Architecture Memory Resources user guide, UG573: widths, places of a word in the address, parity
// bits as the ninth bits of bytes, write mode READ_FIRST, simple dual port of twice the width.
// Outputs at the start are not described. Other widths or modes and resets stop the simulation.
module RAMB_words #(
    parameter integer HALF = 16, ADDRESS = 14,
    parameter integer READ_A = 0, READ_B = 0, WRITE_A = 0, WRITE_B = 0, REGISTERS = 0,
    parameter MODE_A = "NO_CHANGE", MODE_B = "NO_CHANGE",
    parameter [HALF*1024-1:0] DATA = 0,
    parameter [HALF*128-1:0] PARITY = 0
) (
    input wire clock_a, enable_a, clock_b, enable_b, idle,
    input wire [ADDRESS-1:0] address_a, address_b,
    input wire [3:0] write_a,
    input wire [7:0] write_b,
    input wire [HALF-1:0] data_a, data_b,
    input wire [HALF/8-1:0] parity_a, parity_b,
    output wire [2*HALF-1:0] out,
    output wire [HALF/4-1:0] out_parity
);
    localparam ALONE = WRITE_A != 0;
    localparam CROSSED = READ_A == 0;  // port A writes, port B reads
    localparam WIDE = CROSSED ? READ_B : READ_A;
    localparam SHIFT = WIDE == 1 ? 0 : WIDE == 2 ? 1 : WIDE == 4 ? 2 : WIDE == 9 ? 3 : WIDE == 18 ? 4
        : WIDE == 36 ? 5 : WIDE == 72 ? 6 : -1;
    localparam DESCRIBED = SHIFT >= 0 && REGISTERS == 0 && (CROSSED || READ_B == 0) && (ALONE
        ? WRITE_A == WIDE && WRITE_B == 0 && MODE_A == "READ_FIRST" && WIDE * 8 <= HALF * 9
        : WRITE_B == READ_A && MODE_B == "READ_FIRST" && READ_A * 4 <= HALF * 9);
    localparam BOTH = WIDE * 8 > HALF * 9;
    localparam PLACE = ADDRESS - (SHIFT > 0 ? SHIFT : 0);
    reg [HALF/4*9-1:0] memory [0:(1<<PLACE)-1];
    reg [HALF/4*9-1:0] word;
    wire [PLACE-1:0] place_a = address_a[ADDRESS-1:ADDRESS-PLACE], place_b = address_b[ADDRESS-1:ADDRESS-PLACE];
    wire [PLACE-1:0] read = CROSSED ? place_b : place_a;
    wire [PLACE-1:0] written = ALONE ? place_a : place_b;
    wire [2*HALF-1:0] data = BOTH ? {data_b, data_a} : ALONE ? {{HALF{1'b0}}, data_a} : {{HALF{1'b0}}, data_b};
    wire [HALF/4-1:0] parity = BOTH ? {parity_b, parity_a}
        : ALONE ? {{HALF/8{1'b0}}, parity_a} : {{HALF/8{1'b0}}, parity_b};
    wire [7:0] enables = ALONE ? {4'd0, write_a} & {8{enable_a}} : write_b & {8{enable_b}};
    wire clock = ALONE ? clock_a : clock_b;
    wire clock_read = CROSSED ? clock_b : clock_a;
    always @(posedge clock_read) if (CROSSED ? enable_b : enable_a) word <= memory[read];
    integer number;
    always @(posedge clock)
        for (number = 0; number < HALF / 4; number = number + 1)
            if (enables[number]) memory[written][9*number +: 9] <= {parity[number], data[8*number +: 8]};
    localparam BITS = WIDE == 0 ? 1 : WIDE < 9 ? WIDE : 8, BYTES = WIDE < 9 ? 1 : WIDE / 9;
    integer start;
    initial for (start = 0; start < (BYTES << PLACE); start = start + 1)  // a byte, or a word of fewer bits; its parity
        memory[start/BYTES][9*(start%BYTES) +: 9] = {WIDE < 9 ? 1'b0 : PARITY[start], 8'd0 | DATA[start*BITS +: BITS]};
    genvar place;
    generate for (place = 0; place < HALF / 4; place = place + 1) begin : bytes
        assign {out_parity[place], out[8*place +: 8]} = word[9*(CROSSED ? place % (HALF / 8) : place) +: 9];
    end endgenerate
`ifdef YOSYS
    generate if (!DESCRIBED) begin
        RAMB_of_other_parameters undescribed ();
    end endgenerate
`else
    initial if (!DESCRIBED) begin
        $display("error: a block RAM is modelled with one width and READ_FIRST, a cell has widths %0d, %0d, %0d, %0d",
                 READ_A, WRITE_A, READ_B, WRITE_B);
        $fatal;
    end
    always @* if (!idle) begin
        $display("error: a block RAM is modelled without resets and sleep, a cell has one");
        $fatal;
    end
`endif
endmodule

module RAMB18E2 (
    input wire [13:0] ADDRARDADDR, ADDRBWRADDR,
    input wire [15:0] DINADIN, DINBDIN,
    input wire [1:0] DINPADINP, DINPBDINP,
    input wire [1:0] WEA,
    input wire [3:0] WEBWE,
    input wire ADDRENA, ADDRENB, CLKARDCLK, CLKBWRCLK, ENARDEN, ENBWREN, REGCEAREGCE, REGCEB, SLEEP,
    input wire RSTRAMARSTRAM, RSTRAMB, RSTREGARSTREG, RSTREGB,
    output wire [15:0] DOUTADOUT, DOUTBDOUT,
    output wire [1:0] DOUTPADOUTP, DOUTPBDOUTP
);
    parameter integer DOA_REG = 1, DOB_REG = 1, READ_WIDTH_A = 0, READ_WIDTH_B = 0, WRITE_WIDTH_A = 0, WRITE_WIDTH_B = 0;
    parameter WRITE_MODE_A = "NO_CHANGE", WRITE_MODE_B = "NO_CHANGE";
    parameter [71:0] INIT_A = 0, INIT_B = 0, SRVAL_A = 0, SRVAL_B = 0;
    parameter [255:0] INIT_00 = 0, INIT_01 = 0, INIT_02 = 0, INIT_03 = 0, INIT_04 = 0, INIT_05 = 0, INIT_06 = 0, INIT_07 = 0;
    parameter [255:0] INIT_08 = 0, INIT_09 = 0, INIT_0A = 0, INIT_0B = 0, INIT_0C = 0, INIT_0D = 0, INIT_0E = 0, INIT_0F = 0;
    parameter [255:0] INIT_10 = 0, INIT_11 = 0, INIT_12 = 0, INIT_13 = 0, INIT_14 = 0, INIT_15 = 0, INIT_16 = 0, INIT_17 = 0;
    parameter [255:0] INIT_18 = 0, INIT_19 = 0, INIT_1A = 0, INIT_1B = 0, INIT_1C = 0, INIT_1D = 0, INIT_1E = 0, INIT_1F = 0;
    parameter [255:0] INIT_20 = 0, INIT_21 = 0, INIT_22 = 0, INIT_23 = 0, INIT_24 = 0, INIT_25 = 0, INIT_26 = 0, INIT_27 = 0;
    parameter [255:0] INIT_28 = 0, INIT_29 = 0, INIT_2A = 0, INIT_2B = 0, INIT_2C = 0, INIT_2D = 0, INIT_2E = 0, INIT_2F = 0;
    parameter [255:0] INIT_30 = 0, INIT_31 = 0, INIT_32 = 0, INIT_33 = 0, INIT_34 = 0, INIT_35 = 0, INIT_36 = 0, INIT_37 = 0;
    parameter [255:0] INIT_38 = 0, INIT_39 = 0, INIT_3A = 0, INIT_3B = 0, INIT_3C = 0, INIT_3D = 0, INIT_3E = 0, INIT_3F = 0;
    parameter [255:0] INITP_00 = 0, INITP_01 = 0, INITP_02 = 0, INITP_03 = 0, INITP_04 = 0, INITP_05 = 0, INITP_06 = 0, INITP_07 = 0;
    RAMB_words #(.HALF(16), .ADDRESS(14), .READ_A(READ_WIDTH_A), .READ_B(READ_WIDTH_B), .WRITE_A(WRITE_WIDTH_A),
        .WRITE_B(WRITE_WIDTH_B), .REGISTERS(DOA_REG + DOB_REG), .MODE_A(WRITE_MODE_A), .MODE_B(WRITE_MODE_B),
        .DATA({INIT_3F, INIT_3E, INIT_3D, INIT_3C, INIT_3B, INIT_3A, INIT_39, INIT_38, INIT_37, INIT_36, INIT_35, INIT_34,
            INIT_33, INIT_32, INIT_31, INIT_30, INIT_2F, INIT_2E, INIT_2D, INIT_2C, INIT_2B, INIT_2A, INIT_29, INIT_28,
            INIT_27, INIT_26, INIT_25, INIT_24, INIT_23, INIT_22, INIT_21, INIT_20, INIT_1F, INIT_1E, INIT_1D, INIT_1C,
            INIT_1B, INIT_1A, INIT_19, INIT_18, INIT_17, INIT_16, INIT_15, INIT_14, INIT_13, INIT_12, INIT_11, INIT_10,
            INIT_0F, INIT_0E, INIT_0D, INIT_0C, INIT_0B, INIT_0A, INIT_09, INIT_08, INIT_07, INIT_06, INIT_05, INIT_04,
            INIT_03, INIT_02, INIT_01, INIT_00}),
        .PARITY({INITP_07, INITP_06, INITP_05, INITP_04, INITP_03, INITP_02, INITP_01, INITP_00})) words (
        .clock_a(CLKARDCLK), .enable_a(ENARDEN && ADDRENA), .clock_b(CLKBWRCLK), .enable_b(ENBWREN && ADDRENB),
        .idle(!RSTRAMARSTRAM && !RSTRAMB && !RSTREGARSTREG && !RSTREGB && !SLEEP),
        .address_a(ADDRARDADDR), .address_b(ADDRBWRADDR), .write_a({2'd0, WEA}), .write_b({4'd0, WEBWE}),
        .data_a(DINADIN), .data_b(DINBDIN), .parity_a(DINPADINP), .parity_b(DINPBDINP),
        .out({DOUTBDOUT, DOUTADOUT}), .out_parity({DOUTPBDOUTP, DOUTPADOUTP}));
endmodule

module RAMB36E2 (
    input wire [14:0] ADDRARDADDR, ADDRBWRADDR,
    input wire [31:0] DINADIN, DINBDIN,
    input wire [3:0] DINPADINP, DINPBDINP,
    input wire [3:0] WEA,
    input wire [7:0] WEBWE,
    input wire ADDRENA, ADDRENB, CLKARDCLK, CLKBWRCLK, ENARDEN, ENBWREN, REGCEAREGCE, REGCEB, SLEEP,
    input wire RSTRAMARSTRAM, RSTRAMB, RSTREGARSTREG, RSTREGB,
    output wire [31:0] DOUTADOUT, DOUTBDOUT,
    output wire [3:0] DOUTPADOUTP, DOUTPBDOUTP
);
    parameter integer DOA_REG = 1, DOB_REG = 1, READ_WIDTH_A = 0, READ_WIDTH_B = 0, WRITE_WIDTH_A = 0, WRITE_WIDTH_B = 0;
    parameter WRITE_MODE_A = "NO_CHANGE", WRITE_MODE_B = "NO_CHANGE";
    parameter [71:0] INIT_A = 0, INIT_B = 0, SRVAL_A = 0, SRVAL_B = 0;
    parameter [255:0] INIT_00 = 0, INIT_01 = 0, INIT_02 = 0, INIT_03 = 0, INIT_04 = 0, INIT_05 = 0, INIT_06 = 0, INIT_07 = 0;
    parameter [255:0] INIT_08 = 0, INIT_09 = 0, INIT_0A = 0, INIT_0B = 0, INIT_0C = 0, INIT_0D = 0, INIT_0E = 0, INIT_0F = 0;
    parameter [255:0] INIT_10 = 0, INIT_11 = 0, INIT_12 = 0, INIT_13 = 0, INIT_14 = 0, INIT_15 = 0, INIT_16 = 0, INIT_17 = 0;
    parameter [255:0] INIT_18 = 0, INIT_19 = 0, INIT_1A = 0, INIT_1B = 0, INIT_1C = 0, INIT_1D = 0, INIT_1E = 0, INIT_1F = 0;
    parameter [255:0] INIT_20 = 0, INIT_21 = 0, INIT_22 = 0, INIT_23 = 0, INIT_24 = 0, INIT_25 = 0, INIT_26 = 0, INIT_27 = 0;
    parameter [255:0] INIT_28 = 0, INIT_29 = 0, INIT_2A = 0, INIT_2B = 0, INIT_2C = 0, INIT_2D = 0, INIT_2E = 0, INIT_2F = 0;
    parameter [255:0] INIT_30 = 0, INIT_31 = 0, INIT_32 = 0, INIT_33 = 0, INIT_34 = 0, INIT_35 = 0, INIT_36 = 0, INIT_37 = 0;
    parameter [255:0] INIT_38 = 0, INIT_39 = 0, INIT_3A = 0, INIT_3B = 0, INIT_3C = 0, INIT_3D = 0, INIT_3E = 0, INIT_3F = 0;
    parameter [255:0] INIT_40 = 0, INIT_41 = 0, INIT_42 = 0, INIT_43 = 0, INIT_44 = 0, INIT_45 = 0, INIT_46 = 0, INIT_47 = 0;
    parameter [255:0] INIT_48 = 0, INIT_49 = 0, INIT_4A = 0, INIT_4B = 0, INIT_4C = 0, INIT_4D = 0, INIT_4E = 0, INIT_4F = 0;
    parameter [255:0] INIT_50 = 0, INIT_51 = 0, INIT_52 = 0, INIT_53 = 0, INIT_54 = 0, INIT_55 = 0, INIT_56 = 0, INIT_57 = 0;
    parameter [255:0] INIT_58 = 0, INIT_59 = 0, INIT_5A = 0, INIT_5B = 0, INIT_5C = 0, INIT_5D = 0, INIT_5E = 0, INIT_5F = 0;
    parameter [255:0] INIT_60 = 0, INIT_61 = 0, INIT_62 = 0, INIT_63 = 0, INIT_64 = 0, INIT_65 = 0, INIT_66 = 0, INIT_67 = 0;
    parameter [255:0] INIT_68 = 0, INIT_69 = 0, INIT_6A = 0, INIT_6B = 0, INIT_6C = 0, INIT_6D = 0, INIT_6E = 0, INIT_6F = 0;
    parameter [255:0] INIT_70 = 0, INIT_71 = 0, INIT_72 = 0, INIT_73 = 0, INIT_74 = 0, INIT_75 = 0, INIT_76 = 0, INIT_77 = 0;
    parameter [255:0] INIT_78 = 0, INIT_79 = 0, INIT_7A = 0, INIT_7B = 0, INIT_7C = 0, INIT_7D = 0, INIT_7E = 0, INIT_7F = 0;
    parameter [255:0] INITP_00 = 0, INITP_01 = 0, INITP_02 = 0, INITP_03 = 0, INITP_04 = 0, INITP_05 = 0, INITP_06 = 0, INITP_07 = 0;
    parameter [255:0] INITP_08 = 0, INITP_09 = 0, INITP_0A = 0, INITP_0B = 0, INITP_0C = 0, INITP_0D = 0, INITP_0E = 0, INITP_0F = 0;
    RAMB_words #(.HALF(32), .ADDRESS(15), .READ_A(READ_WIDTH_A), .READ_B(READ_WIDTH_B), .WRITE_A(WRITE_WIDTH_A),
        .WRITE_B(WRITE_WIDTH_B), .REGISTERS(DOA_REG + DOB_REG), .MODE_A(WRITE_MODE_A), .MODE_B(WRITE_MODE_B),
        .DATA({INIT_7F, INIT_7E, INIT_7D, INIT_7C, INIT_7B, INIT_7A, INIT_79, INIT_78, INIT_77, INIT_76, INIT_75, INIT_74,
            INIT_73, INIT_72, INIT_71, INIT_70, INIT_6F, INIT_6E, INIT_6D, INIT_6C, INIT_6B, INIT_6A, INIT_69, INIT_68,
            INIT_67, INIT_66, INIT_65, INIT_64, INIT_63, INIT_62, INIT_61, INIT_60, INIT_5F, INIT_5E, INIT_5D, INIT_5C,
            INIT_5B, INIT_5A, INIT_59, INIT_58, INIT_57, INIT_56, INIT_55, INIT_54, INIT_53, INIT_52, INIT_51, INIT_50,
            INIT_4F, INIT_4E, INIT_4D, INIT_4C, INIT_4B, INIT_4A, INIT_49, INIT_48, INIT_47, INIT_46, INIT_45, INIT_44,
            INIT_43, INIT_42, INIT_41, INIT_40, INIT_3F, INIT_3E, INIT_3D, INIT_3C, INIT_3B, INIT_3A, INIT_39, INIT_38,
            INIT_37, INIT_36, INIT_35, INIT_34, INIT_33, INIT_32, INIT_31, INIT_30, INIT_2F, INIT_2E, INIT_2D, INIT_2C,
            INIT_2B, INIT_2A, INIT_29, INIT_28, INIT_27, INIT_26, INIT_25, INIT_24, INIT_23, INIT_22, INIT_21, INIT_20,
            INIT_1F, INIT_1E, INIT_1D, INIT_1C, INIT_1B, INIT_1A, INIT_19, INIT_18, INIT_17, INIT_16, INIT_15, INIT_14,
            INIT_13, INIT_12, INIT_11, INIT_10, INIT_0F, INIT_0E, INIT_0D, INIT_0C, INIT_0B, INIT_0A, INIT_09, INIT_08,
            INIT_07, INIT_06, INIT_05, INIT_04, INIT_03, INIT_02, INIT_01, INIT_00}),
        .PARITY({INITP_0F, INITP_0E, INITP_0D, INITP_0C, INITP_0B, INITP_0A, INITP_09, INITP_08, INITP_07, INITP_06, INITP_05, INITP_04,
            INITP_03, INITP_02, INITP_01, INITP_00})) words (
        .clock_a(CLKARDCLK), .enable_a(ENARDEN && ADDRENA), .clock_b(CLKBWRCLK), .enable_b(ENBWREN && ADDRENB),
        .idle(!RSTRAMARSTRAM && !RSTRAMB && !RSTREGARSTREG && !RSTREGB && !SLEEP),
        .address_a(ADDRARDADDR), .address_b(ADDRBWRADDR), .write_a(WEA), .write_b(WEBWE),
        .data_a(DINADIN), .data_b(DINBDIN), .parity_a(DINPADINP), .parity_b(DINPBDINP),
        .out({DOUTBDOUT, DOUTADOUT}), .out_parity({DOUTPBDOUTP, DOUTPADOUTP}));
endmodule
