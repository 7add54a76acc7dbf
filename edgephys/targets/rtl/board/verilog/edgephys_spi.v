// Bytes over SPI, mode 0, the highest bit first, the host as master. All pins are sampled by clk: sck may have an eighth
// of its frequency. A transfer (cs_n low) whose first byte is not 0 carries a request; one whose first byte is 0 reads:
// from its second byte on miso has what is to be sent, or zeros while there is nothing. A transfer that ends within a byte
// is broken.
`timescale 1ns / 1ps

module edgephys_spi (
  input wire clk, input wire reset, input wire sck, input wire mosi, output wire miso, input wire cs_n,
  output wire [7:0] data_in, output reg valid, output reg broken,
  input wire [7:0] data_out, input wire send, output wire ready
);
  reg [2:0] clock, chip;  // two registers, since the pins are not of this clock, and the level before
  reg [1:0] line;
  wire rises = !clock[2] && clock[1], falls = clock[2] && !clock[1];
  reg [2:0] place;  // bits of the byte that came
  reg [7:0] shift_in, shift_out, next;
  reg first, reads, full, loaded;
  assign miso = shift_out[7];
  assign data_in = shift_in;
  assign ready = !full;
  wire ends = rises && place == 3'd7;
  wire [7:0] came = {shift_in[6:0], line[1]};
  always @(posedge clk) begin
    clock <= {clock[1:0], sck};
    chip <= {chip[1:0], cs_n};
    line <= {line[0], mosi};
    valid <= 1'b0;
    broken <= 1'b0;
    if (send && ready) begin
      next <= data_out;
      full <= 1'b1;
    end
    if (reset) begin
      clock <= 3'd0;
      chip <= 3'b111;
      place <= 3'd0;
      full <= 1'b0;
    end else if (chip[1]) begin
      broken <= !chip[2] && place != 3'd0 && !reads;
      place <= 3'd0;
      first <= 1'b1;
      reads <= 1'b0;
      loaded <= 1'b0;
      shift_out <= 8'd0;
    end else begin
      if (rises) begin
        loaded <= 1'b0;
        if (loaded) full <= 1'b0;  // only a byte that is begun is sent
        shift_in <= came;
        place <= place + 3'd1;
      end
      if (ends) begin
        first <= 1'b0;
        if (first) reads <= came == 8'd0;
        valid <= first ? came != 8'd0 : !reads;
      end
      if (falls) begin
        shift_out <= {shift_out[6:0], 1'b0};
        if (place == 3'd0 && reads && full) begin  // the edge behind a byte: the next one begins
          shift_out <= next;
          loaded <= 1'b1;
        end
      end
    end
  end
endmodule
