"""HLS projects through hls4ml."""
