// Streams of pixels, in raster order, for the kernels of edgephys: a beat is one pixel with all its channels.

#ifndef NNET_EDGEPHYS_STREAM_H_
#define NNET_EDGEPHYS_STREAM_H_

#include "hls_stream.h"
#include "nnet_common.h"
#include "nnet_edgephys.h"
#include "nnet_types.h"

namespace nnet {

template <class data_T> void edge_read(hls::stream<data_T> &x, typename data_T::value_type pixel[data_T::size]) {
    #pragma HLS INLINE
    const data_T beat = x.read();
    for (unsigned i = 0; i < data_T::size; i++) {
        #pragma HLS UNROLL
        pixel[i] = beat[i];
    }
}

template <class data_T> void edge_write(const typename data_T::value_type pixel[data_T::size], hls::stream<data_T> &y) {
    #pragma HLS INLINE
    data_T beat;
    PRAGMA_DATA_PACK(beat)
    for (unsigned i = 0; i < data_T::size; i++) {
        #pragma HLS UNROLL
        beat[i] = pixel[i];
    }
    y.write(beat);
}

// A pixel in and the neighbours of another out, once a clock: of the first pixel when its last neighbour has come.
// Neighbours come row by row, each with all its channels; those beyond the edges are 0. Of an even size one more lies
// after the pixel than before it. ``seen`` holds the newest columns, whose lowest pixel is the newest of all; ``lines``
// holds what was read above it, the nearest row first. Neither is cleared between frames: what no pixel of this frame
// has replaced yet lies beyond an edge, and is never looked at.
template <class in_T, class out_T, typename CONFIG_T> void edge_window(hls::stream<in_T> &x, hls::stream<out_T> &y) {
    const unsigned pixels = CONFIG_T::height * CONFIG_T::width;
    const unsigned lag = CONFIG_T::rows / 2 * CONFIG_T::width + CONFIG_T::columns / 2;
    const int up_rows = (CONFIG_T::rows - 1) / 2, left = (CONFIG_T::columns - 1) / 2;
    typedef typename in_T::value_type value_t;
    value_t lines[CONFIG_T::rows][CONFIG_T::channels][CONFIG_T::width]; // the last row is never looked at, and goes
    #pragma HLS ARRAY_PARTITION variable=lines complete dim=1
    #pragma HLS ARRAY_PARTITION variable=lines complete dim=2
    // A column is read again only a whole line later.
    #pragma HLS DEPENDENCE variable=lines inter RAW distance=CONFIG_T::width true
    value_t seen[CONFIG_T::rows][CONFIG_T::columns][CONFIG_T::channels];
    #pragma HLS ARRAY_PARTITION variable=seen complete dim=0
    value_t newest[CONFIG_T::channels];
    #pragma HLS ARRAY_PARTITION variable=newest complete
    typename out_T::value_type neighbours[out_T::size];
    #pragma HLS ARRAY_PARTITION variable=neighbours complete
    unsigned place = 0;
    int row = 0, column = 0; // of the pixel whose neighbours are given

    for (unsigned beat = 0; beat < pixels + lag; beat++) {
        #pragma HLS PIPELINE II=1
        if (beat < pixels)
            edge_read<in_T>(x, newest);
        for (unsigned i = 0; i < CONFIG_T::channels; i++) {
            #pragma HLS UNROLL
            value_t carried = newest[i];
            for (unsigned up = 0; up < CONFIG_T::rows; up++) {
                #pragma HLS UNROLL
                const unsigned r = CONFIG_T::rows - 1 - up;
                for (unsigned c = 0; c + 1 < CONFIG_T::columns; c++) {
                    #pragma HLS UNROLL
                    seen[r][c][i] = seen[r][c + 1][i];
                }
                seen[r][CONFIG_T::columns - 1][i] = carried;
                const value_t above = lines[up][i][place];
                lines[up][i][place] = carried;
                carried = above;
            }
        }
        place = place + 1 == CONFIG_T::width ? 0 : place + 1;
        if (beat >= lag) {
            for (int r = 0; r < int(CONFIG_T::rows); r++) {
                #pragma HLS UNROLL
                const bool no_row = row + r < up_rows || row + r >= int(CONFIG_T::height) + up_rows;
                for (int c = 0; c < int(CONFIG_T::columns); c++) {
                    #pragma HLS UNROLL
                    const bool outside = no_row || column + c < left || column + c >= int(CONFIG_T::width) + left;
                    for (unsigned i = 0; i < CONFIG_T::channels; i++) {
                        #pragma HLS UNROLL
                        const unsigned at = (r * CONFIG_T::columns + c) * CONFIG_T::channels + i;
                        neighbours[at] = outside ? value_t(0) : seen[r][c][i]; // the same bits
                    }
                }
            }
            edge_write<out_T>(neighbours, y);
            row += column + 1 == int(CONFIG_T::width);
            column = column + 1 == int(CONFIG_T::width) ? 0 : column + 1;
        }
    }
}

// Simulation only: hands the integers of a stream to the probing main program, and leaves it as it was.
#ifdef EDGEPHYS_PROBE
template <class data_T, unsigned beats> void edge_probe(hls::stream<data_T> &x) {
    for (unsigned beat = 0; edge_probe_sink && beat < beats; beat++) {
        const data_T pixel = x.read();
        for (unsigned i = 0; i < data_T::size; i++) {
            *edge_probe_sink++ = edge_integer(pixel[i]);
        }
        x.write(pixel);
    }
}
#endif

} // namespace nnet

#endif
