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
