// Kernels of edgephys for hls4ml's extension interface: exact in every ap_fixed and ac_fixed format.
//
// Tensors are flat, row by row. An assignment to out_T rounds and overflows by out_T's own modes and is
// the only place where a value may change; a sum wraps on the way and its end is proven to fit.
// Each loop carries the pragmas of both vendors: a tool passes over the other's.

#ifndef NNET_EDGEPHYS_H_
#define NNET_EDGEPHYS_H_

#include "nnet_common.h"

namespace nnet {

template <class in_T, class out_T, typename CONFIG_T>
void edge_copy(in_T x[CONFIG_T::size], out_T y[CONFIG_T::size]) {
    #pragma HLS INLINE
    #pragma hls_unroll yes
    for (unsigned i = 0; i < CONFIG_T::size; i++) {
        #pragma HLS UNROLL
        y[i] = x[i];
    }
}

template <class in_T, class out_T, typename CONFIG_T>
void edge_relu(in_T x[CONFIG_T::size], out_T y[CONFIG_T::size]) {
    #pragma HLS INLINE
    #pragma hls_unroll yes
    for (unsigned i = 0; i < CONFIG_T::size; i++) {
        #pragma HLS UNROLL
        y[i] = x[i] > 0 ? out_T(x[i]) : out_T(0);
    }
}

template <class in_T, class out_T, typename CONFIG_T>
void edge_bias(in_T x[CONFIG_T::size], out_T y[CONFIG_T::size], typename CONFIG_T::constant_t c[CONFIG_T::period]) {
    #pragma HLS INLINE
    #pragma hls_unroll yes
    for (unsigned i = 0; i < CONFIG_T::size; i++) {
        #pragma HLS UNROLL
        y[i] = x[i] + c[i % CONFIG_T::period];
    }
}

template <class x_T, class y_T, class out_T, typename CONFIG_T>
void edge_add(x_T x[CONFIG_T::size], y_T y[CONFIG_T::size], out_T z[CONFIG_T::size]) {
    #pragma HLS INLINE
    #pragma hls_unroll yes
    for (unsigned i = 0; i < CONFIG_T::size; i++) {
        #pragma HLS UNROLL
        z[i] = x[i] + y[i];
    }
}

template <class in_T, class out_T, typename CONFIG_T>
void edge_scale(in_T x[CONFIG_T::size], out_T y[CONFIG_T::size], typename CONFIG_T::constant_t c[CONFIG_T::period]) {
    #pragma HLS INLINE
    #pragma hls_unroll yes
    for (unsigned i = 0; i < CONFIG_T::size; i++) {
        #pragma HLS UNROLL
        y[i] = x[i] * c[i % CONFIG_T::period];
    }
}

// x is (outer, terms, inner), y is (outer, inner).
template <class in_T, class out_T, typename CONFIG_T>
void edge_sum(in_T x[CONFIG_T::outer * CONFIG_T::terms * CONFIG_T::inner], out_T y[CONFIG_T::outer * CONFIG_T::inner]) {
    #pragma HLS INLINE
    #pragma hls_unroll yes
    for (unsigned o = 0; o < CONFIG_T::outer; o++) {
        #pragma HLS UNROLL
        #pragma hls_unroll yes
        for (unsigned i = 0; i < CONFIG_T::inner; i++) {
            #pragma HLS UNROLL
            out_T total = 0;
            #pragma hls_unroll yes
            for (unsigned t = 0; t < CONFIG_T::terms; t++) {
                #pragma HLS UNROLL
                total += x[(o * CONFIG_T::terms + t) * CONFIG_T::inner + i];
            }
            y[o * CONFIG_T::inner + i] = total;
        }
    }
}

// x is (outer, block) and becomes columns offset .. offset + block of y, which is (outer, width).
template <class in_T, class out_T, typename CONFIG_T>
void edge_concat(in_T x[CONFIG_T::outer * CONFIG_T::block], out_T y[CONFIG_T::outer * CONFIG_T::width]) {
    #pragma HLS INLINE
    #pragma hls_unroll yes
    for (unsigned o = 0; o < CONFIG_T::outer; o++) {
        #pragma HLS UNROLL
        #pragma hls_unroll yes
        for (unsigned b = 0; b < CONFIG_T::block; b++) {
            #pragma HLS UNROLL
            y[o * CONFIG_T::width + CONFIG_T::offset + b] = x[o * CONFIG_T::block + b];
        }
    }
}

// x is (outer, length, inner), y is (outer, count, inner): row r of y is row rows(r) of x.
template <class in_T, class out_T, typename CONFIG_T>
void edge_take(in_T x[CONFIG_T::outer * CONFIG_T::length * CONFIG_T::inner],
               out_T y[CONFIG_T::outer * CONFIG_T::count * CONFIG_T::inner]) {
    #pragma HLS INLINE
    #pragma hls_unroll yes
    for (unsigned o = 0; o < CONFIG_T::outer; o++) {
        #pragma HLS UNROLL
        #pragma hls_unroll yes
        for (unsigned r = 0; r < CONFIG_T::count; r++) {
            #pragma HLS UNROLL
            #pragma hls_unroll yes
            for (unsigned i = 0; i < CONFIG_T::inner; i++) {
                #pragma HLS UNROLL
                y[(o * CONFIG_T::count + r) * CONFIG_T::inner + i] =
                    x[(o * CONFIG_T::length + CONFIG_T::rows(r)) * CONFIG_T::inner + i];
            }
        }
    }
}

// Simulation only: hands the integers of an edge to the probing main program.
#ifdef EDGEPHYS_PROBE
extern thread_local long long *edge_probe_sink; // where to, or NULL for nowhere

template <class data_T, unsigned size> void edge_probe(const data_T *x) {
    for (unsigned i = 0; edge_probe_sink && i < size; i++) {
        *edge_probe_sink++ = edge_integer(x[i]);
    }
}
#endif

} // namespace nnet

#endif
