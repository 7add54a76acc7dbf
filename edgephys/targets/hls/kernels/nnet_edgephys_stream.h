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

// A point of a field in and patches of it out, once a clock, each when its last point has come. Points of a patch come
// row by row, each with all its channels; those beyond the edges are 0. ``seen`` holds the newest columns, whose lowest
// point is the newest of all; ``lines`` holds what was read above it, the nearest row first. Neither is cleared between
// frames: what no point of this frame has replaced yet lies beyond an edge, and is never looked at.
template <class in_T, class out_T, typename CONFIG_T> void edge_window(hls::stream<in_T> &x, hls::stream<out_T> &y) {
    typedef typename in_T::value_type value_t;
    value_t lines[CONFIG_T::row_reach][CONFIG_T::channels][CONFIG_T::width]; // the last row is never looked at, and goes
    #pragma HLS ARRAY_PARTITION variable=lines complete dim=1
    #pragma HLS ARRAY_PARTITION variable=lines complete dim=2
    // A column is read again only a whole line later.
    #pragma HLS DEPENDENCE variable=lines inter RAW distance=CONFIG_T::width true
    value_t seen[CONFIG_T::row_reach][CONFIG_T::column_reach][CONFIG_T::channels];
    #pragma HLS ARRAY_PARTITION variable=seen complete dim=0
    value_t newest[CONFIG_T::channels];
    #pragma HLS ARRAY_PARTITION variable=newest complete
    typename out_T::value_type patch[out_T::size];
    #pragma HLS ARRAY_PARTITION variable=patch complete
    unsigned place = 0;
    int row = 0, column = 0;                        // of the point that a patch would start from, without what is before it
    unsigned rows_to_go = 0, columns_to_go = 0; // to the next point from which one does

    for (unsigned beat = 0; beat < CONFIG_T::passes; beat++) {
        #pragma HLS PIPELINE II=1
        if (beat < CONFIG_T::height * CONFIG_T::width)
            edge_read<in_T>(x, newest);
        for (unsigned i = 0; i < CONFIG_T::channels; i++) {
            #pragma HLS UNROLL
            value_t carried = newest[i];
            for (unsigned up = 0; up < CONFIG_T::row_reach; up++) {
                #pragma HLS UNROLL
                const unsigned r = CONFIG_T::row_reach - 1 - up;
                for (unsigned c = 0; c + 1 < CONFIG_T::column_reach; c++) {
                    #pragma HLS UNROLL
                    seen[r][c][i] = seen[r][c + 1][i];
                }
                seen[r][CONFIG_T::column_reach - 1][i] = carried;
                const value_t above = lines[up][i][place];
                lines[up][i][place] = carried;
                carried = above;
            }
        }
        place = place + 1 == CONFIG_T::width ? 0 : place + 1;
        if (beat >= CONFIG_T::lag) {
            const bool starts = rows_to_go == 0 && columns_to_go == 0;
            if (starts && row <= int(CONFIG_T::last_row) && column <= int(CONFIG_T::last_column)) {
                for (int r = 0; r < int(CONFIG_T::rows); r++) {
                    #pragma HLS UNROLL
                    const int at_row = row + r * int(CONFIG_T::row_spread) - int(CONFIG_T::up);
                    const bool no_row = at_row < 0 || at_row >= int(CONFIG_T::height);
                    for (int c = 0; c < int(CONFIG_T::columns); c++) {
                        #pragma HLS UNROLL
                        const int at_column = column + c * int(CONFIG_T::column_spread) - int(CONFIG_T::left);
                        const bool outside = no_row || at_column < 0 || at_column >= int(CONFIG_T::width);
                        for (unsigned i = 0; i < CONFIG_T::channels; i++) {
                            #pragma HLS UNROLL
                            const unsigned at = (r * CONFIG_T::columns + c) * CONFIG_T::channels + i;
                            const value_t point = seen[r * CONFIG_T::row_spread][c * CONFIG_T::column_spread][i];
                            patch[at] = outside ? value_t(0) : point; // the same bits
                        }
                    }
                }
                edge_write<out_T>(patch, y);
            }
            const bool ends = column + 1 == int(CONFIG_T::width);
            if (ends) {
                row++;
                rows_to_go = rows_to_go == 0 ? CONFIG_T::row_stride - 1 : rows_to_go - 1;
            }
            columns_to_go = ends ? 0 : columns_to_go == 0 ? CONFIG_T::column_stride - 1 : columns_to_go - 1;
            column = ends ? 0 : column + 1;
        }
    }
}

// A frame in, then its groups of numbers out in the order of rows(i), parts(i); a part of ``most`` stands for zeros.
template <class in_T, class out_T, typename CONFIG_T>
void edge_rearrange(hls::stream<in_T> &x, hls::stream<out_T> &y) {
    typedef typename in_T::value_type value_t;
    value_t frame[CONFIG_T::beats][in_T::size];
    #pragma HLS ARRAY_PARTITION variable=frame complete dim=2
    value_t newest[in_T::size];
    #pragma HLS ARRAY_PARTITION variable=newest complete
    typename out_T::value_type pixel[out_T::size];
    #pragma HLS ARRAY_PARTITION variable=pixel complete
    unsigned held = 0; // groups

    for (unsigned beat = 0; beat < CONFIG_T::beats + CONFIG_T::groups; beat++) {
        #pragma HLS PIPELINE II=1
        if (beat < CONFIG_T::beats) {
            edge_read<in_T>(x, newest);
            for (unsigned i = 0; i < in_T::size; i++) {
                #pragma HLS UNROLL
                frame[beat][i] = newest[i];
            }
        } else {
            const unsigned row = CONFIG_T::rows(beat - CONFIG_T::beats), part = CONFIG_T::parts(beat - CONFIG_T::beats);
            for (unsigned i = 0; i + CONFIG_T::size < out_T::size; i++) {
                #pragma HLS UNROLL
                pixel[i] = pixel[i + CONFIG_T::size];
            }
            for (unsigned i = 0; i < CONFIG_T::size; i++) {
                #pragma HLS UNROLL
                value_t number = 0;
                for (unsigned p = 0; p < CONFIG_T::most; p++) {
                    #pragma HLS UNROLL
                    if (part == p)
                        number = frame[row][p * CONFIG_T::size + i];
                }
                pixel[out_T::size - CONFIG_T::size + i] = number;
            }
            held++;
            if (held == CONFIG_T::count) {
                edge_write<out_T>(pixel, y);
                held = 0;
            }
        }
    }
}

// Sums of beats that lie ``inner`` beats apart. A sum wraps on the way, and its end is proven to fit.
template <class in_T, class out_T, typename CONFIG_T>
void edge_sum_beats(hls::stream<in_T> &x, hls::stream<out_T> &y) {
    typedef typename out_T::value_type value_t;
    value_t totals[CONFIG_T::inner][out_T::size];
    #pragma HLS ARRAY_PARTITION variable=totals complete dim=0
    typename in_T::value_type newest[in_T::size];
    #pragma HLS ARRAY_PARTITION variable=newest complete
    unsigned place = 0, term = 0;

    for (unsigned beat = 0; beat < CONFIG_T::beats; beat++) {
        #pragma HLS PIPELINE II=1
        edge_read<in_T>(x, newest);
        for (unsigned i = 0; i < out_T::size; i++) {
            #pragma HLS UNROLL
            value_t total = term == 0 ? value_t(0) : totals[place][i];
            total += newest[i];
            totals[place][i] = total;
        }
        if (term + 1 == CONFIG_T::terms)
            edge_write<out_T>(totals[place], y);
        const bool ends = place + 1 == CONFIG_T::inner;
        place = ends ? 0 : place + 1;
        term = !ends ? term : term + 1 == CONFIG_T::terms ? 0 : term + 1;
    }
}

// Sums of ``terms`` beats, each multiplied by its own rows of the weights (terms, inputs, outputs).
template <class in_T, class out_T, typename CONFIG_T>
void edge_dense_beats(hls::stream<in_T> &x, hls::stream<out_T> &y,
                      typename CONFIG_T::constant_t w[CONFIG_T::terms * CONFIG_T::inputs * CONFIG_T::outputs]) {
    #pragma HLS ARRAY_PARTITION variable=w cyclic factor=CONFIG_T::width
    typedef typename out_T::value_type value_t;
    value_t totals[CONFIG_T::outputs];
    #pragma HLS ARRAY_PARTITION variable=totals complete
    typename in_T::value_type newest[CONFIG_T::inputs];
    #pragma HLS ARRAY_PARTITION variable=newest complete
    unsigned term = 0;

    for (unsigned beat = 0; beat < CONFIG_T::beats; beat++) {
        #pragma HLS PIPELINE II=1
        edge_read<in_T>(x, newest);
        for (unsigned o = 0; o < CONFIG_T::outputs; o++) {
            #pragma HLS UNROLL
            value_t total = term == 0 ? value_t(0) : totals[o];
            for (unsigned i = 0; i < CONFIG_T::inputs; i++) {
                #pragma HLS UNROLL
                total += newest[i] * w[(term * CONFIG_T::inputs + i) * CONFIG_T::outputs + o];
            }
            totals[o] = total;
        }
        const bool ends = term + 1 == CONFIG_T::terms;
        if (ends)
            edge_write<out_T>(totals, y);
        term = ends ? 0 : term + 1;
    }
}

// The constants of a beat, where they differ from beat to beat.
template <class constant_T, unsigned size>
void edge_constants(const constant_T *all, unsigned beat, constant_T own[size]) {
    #pragma HLS INLINE
    for (unsigned i = 0; i < size; i++) {
        #pragma HLS UNROLL
        own[i] = all[beat * size + i];
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
