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
