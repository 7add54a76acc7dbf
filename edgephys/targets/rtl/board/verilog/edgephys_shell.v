// One request at a time over a line of bytes. A frame is: start byte, number of payload bytes (low, high), payload, CRC-8
// of everything between start byte and CRC (polynomial 0x07, from 0). A request (0xA5) carries in_bits, the lowest byte
// first; it is answered by a result (0x5A) with out_bits, or by an error (0xE5) with one byte that says why. After a
// malformed request everything is skipped until the line was silent for SILENCE clocks.
`timescale 1ns / 1ps

module edgephys_shell #(parameter IN_BITS = 8, parameter OUT_BITS = 8, parameter SILENCE = 25600) (
  input wire clk, input wire reset,
  input wire [7:0] data, input wire valid, input wire broken, output reg [7:0] put, output wire putting, input wire ready,
  output wire valid_in, input wire ready_in, output wire [IN_BITS-1:0] in_bits,
  input wire valid_out, output wire ready_out, input wire [OUT_BITS-1:0] out_bits
);
  localparam IN_BYTES = (IN_BITS + 7) / 8, OUT_BYTES = (OUT_BITS + 7) / 8, WIDTH = $clog2(SILENCE + 1);
  localparam [7:0] REQUEST = 8'hA5, RESULT = 8'h5A, ERROR = 8'hE5;
  localparam [7:0] NO_START = 8'd1, LENGTH = 8'd2, CHECKSUM = 8'd3, INCOMPLETE = 8'd4, BROKEN = 8'd5;
  localparam [3:0] IDLE = 4'd0, GET_LOW = 4'd1, GET_HIGH = 4'd2, GET_BYTES = 4'd3, GET_CHECK = 4'd4, SKIP = 4'd5,
    START = 4'd6, WAIT = 4'd7, PUT_KIND = 4'd8, PUT_LOW = 4'd9, PUT_HIGH = 4'd10, PUT_BYTES = 4'd11, PUT_CHECK = 4'd12;

  reg [3:0] state;
  reg [7:0] crc, kind;
  reg [15:0] left, count;  // bytes of the payload that are still to come, and all of a reply
  reg [8*IN_BYTES-1:0] request;
  reg [8*OUT_BYTES-1:0] reply;
  reg [WIDTH-1:0] silent;

  assign putting = state >= PUT_KIND;
  always @(*)
    case (state)
      PUT_KIND: put = kind;
      PUT_LOW: put = count[7:0];
      PUT_HIGH: put = count[15:8];
      PUT_BYTES: put = reply[7:0];
      default: put = crc;
    endcase
  function [7:0] next_crc(input [7:0] former, input [7:0] next);
    integer i;
    begin
      next_crc = former ^ next;
      for (i = 0; i < 8; i = i + 1) next_crc = {next_crc[6:0], 1'b0} ^ (next_crc[7] ? 8'h07 : 8'h00);
    end
  endfunction

  wire over = silent == 0;
  wire receiving = state <= GET_CHECK;
  wire [8*IN_BYTES+7:0] shifted = {data, request};
  assign in_bits = request[IN_BITS-1:0];
  assign valid_in = state == START;
  assign ready_out = state == WAIT;

  always @(posedge clk) begin
    if (valid || broken) silent <= SILENCE[WIDTH-1:0];
    else if (!over) silent <= silent - 1'b1;
    if (reset) begin
      state <= IDLE;
    end else if (receiving && broken) begin
      state <= SKIP;
      reply <= BROKEN;
    end else if (receiving && valid) begin
      if (state != IDLE) crc <= next_crc(crc, data);
      case (state)
        IDLE: begin
          crc <= 8'd0;
          state <= data == REQUEST ? GET_LOW : SKIP;
          reply <= NO_START;
        end
        GET_LOW: begin
          left[7:0] <= data;
          state <= GET_HIGH;
        end
        GET_HIGH: begin
          state <= {data, left[7:0]} == IN_BYTES[15:0] ? GET_BYTES : SKIP;
          left <= IN_BYTES[15:0];
          reply <= LENGTH;
        end
        GET_BYTES: begin
          request <= shifted[8*IN_BYTES+7:8];
          left <= left - 16'd1;
          if (left == 16'd1) state <= GET_CHECK;
        end
        default: begin
          state <= data == crc ? START : SKIP;
          reply <= CHECKSUM;
        end
      endcase
    end else begin
      case (state)
        IDLE: ;
        START: if (ready_in) state <= WAIT;
        WAIT:
          if (valid_out) begin
            state <= PUT_KIND;
            kind <= RESULT;
            count <= OUT_BYTES[15:0];
            reply <= out_bits;
          end
        PUT_KIND:
          if (ready) begin
            crc <= 8'd0;
            left <= count;
            state <= PUT_LOW;
          end
        PUT_LOW, PUT_HIGH, PUT_BYTES:
          if (ready) begin
            crc <= next_crc(crc, put);
            if (state == PUT_BYTES) begin
              reply <= reply >> 8;
              left <= left - 16'd1;
              if (left == 16'd1) state <= PUT_CHECK;
            end else begin
              state <= state + 4'd1;
            end
          end
        PUT_CHECK: if (ready) state <= IDLE;
        default:  // within a request, or behind a malformed one
          if (over) begin
            state <= PUT_KIND;
            kind <= ERROR;
            count <= 16'd1;
            if (state != SKIP) reply <= INCOMPLETE;
          end
      endcase
    end
  end
endmodule
