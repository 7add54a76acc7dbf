// Both directions of a serial line: 8 data bits, the lowest first, no parity, 1 stop bit. CLOCKS are those of a bit.
`timescale 1ns / 1ps

module edgephys_uart_receiver #(parameter CLOCKS = 25) (
  input wire clk, input wire reset, input wire rx,
  output reg [7:0] data, output reg valid, output reg broken
);
  localparam WIDTH = $clog2(CLOCKS);
  reg [1:0] line;  // two registers: rx is not of this clock
  reg [WIDTH-1:0] left;
  reg [3:0] due;  // bits that are still to come; 0 waits for a start bit
  always @(posedge clk) begin
    line <= {line[0], rx};
    valid <= 1'b0;
    broken <= 1'b0;
    if (reset) begin
      due <= 4'd0;
      line <= 2'b11;
    end else if (due == 4'd0) begin
      if (!line[1]) begin
        due <= 4'd10;
        left <= CLOCKS / 2 - 1;  // every bit is read in its middle
      end
    end else if (left != 0) begin
      left <= left - 1'b1;
    end else begin
      left <= CLOCKS - 1;
      due <= due - 4'd1;
      if (due == 4'd10) begin
        if (line[1]) due <= 4'd0;  // too short for a start bit
      end else if (due != 4'd1) begin
        data <= {line[1], data[7:1]};
      end else begin
        valid <= line[1];
        broken <= !line[1];  // no stop bit
      end
    end
  end
endmodule

module edgephys_uart_sender #(parameter CLOCKS = 25) (
  input wire clk, input wire reset,
  input wire [7:0] data, input wire send, output wire ready, output reg tx
);
  localparam WIDTH = $clog2(CLOCKS);
  reg [WIDTH-1:0] left;
  reg [3:0] due;
  reg [8:0] rest;
  assign ready = due == 4'd0;
  always @(posedge clk) begin
    if (reset) begin
      due <= 4'd0;
      tx <= 1'b1;
    end else if (due == 4'd0) begin
      if (send) begin
        rest <= {1'b1, data};
        tx <= 1'b0;
        due <= 4'd10;
        left <= CLOCKS - 1;
      end
    end else if (left != 0) begin
      left <= left - 1'b1;
    end else begin
      left <= CLOCKS - 1;
      due <= due - 4'd1;
      tx <= rest[0];
      rest <= {1'b1, rest[8:1]};
    end
  end
endmodule
