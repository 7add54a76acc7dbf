"""C++ texts of kernels that only the projects contain which call them; the others are in ``kernels``."""

LOOKUP_TEXT = """\
// c holds the table of each channel, one behind the other; 1 is steps() steps of the integers that are looked up.
template <class in_T, class out_T, typename CONFIG_T>
void edge_lookup(in_T x[CONFIG_T::size], out_T y[CONFIG_T::size],
                typename CONFIG_T::constant_t c[CONFIG_T::channels * CONFIG_T::entries]) {
    #pragma HLS INLINE
    #pragma hls_unroll yes
    for (unsigned i = 0; i < CONFIG_T::size; i++) {
        #pragma HLS UNROLL
        const int place = (x[i] * CONFIG_T::steps()).to_int() - int(CONFIG_T::first);
        y[i] = c[(i % CONFIG_T::channels) * CONFIG_T::entries + place];
    }
}"""

GATHER_TEXT = """\
// y[r] = x[rows(r)], and 0 for the row behind the last one: every neighbour of every pixel, zeros beyond the edges.
template <class in_T, class out_T, typename CONFIG_T>
void edge_gather(in_T x[CONFIG_T::length * CONFIG_T::inner], out_T y[CONFIG_T::count * CONFIG_T::inner]) {
    #pragma HLS INLINE
    #pragma hls_unroll yes
    for (unsigned r = 0; r < CONFIG_T::count; r++) {
        #pragma HLS UNROLL
        #pragma hls_unroll yes
        for (unsigned i = 0; i < CONFIG_T::inner; i++) {
            #pragma HLS UNROLL
            if (CONFIG_T::rows(r) < CONFIG_T::length)
                y[r * CONFIG_T::inner + i] = x[CONFIG_T::rows(r) * CONFIG_T::inner + i];
            else
                y[r * CONFIG_T::inner + i] = 0;
        }
    }
}
"""

MUL_TEXT = """\
template <class x_T, class y_T, class out_T, typename CONFIG_T>
void edge_mul(x_T x[CONFIG_T::size], y_T y[CONFIG_T::size], out_T z[CONFIG_T::size]) {
    #pragma HLS INLINE
    #pragma hls_unroll yes
    for (unsigned i = 0; i < CONFIG_T::size; i++) {
        #pragma HLS UNROLL
        z[i] = x[i] * y[i];
    }
}"""

MAX_TEXT = """\
template <class x_T, class y_T, class out_T, typename CONFIG_T>
void edge_max(x_T x[CONFIG_T::size], y_T y[CONFIG_T::size], out_T z[CONFIG_T::size]) {
    #pragma HLS INLINE
    #pragma hls_unroll yes
    for (unsigned i = 0; i < CONFIG_T::size; i++) {
        #pragma HLS UNROLL
        if (x[i] > y[i])
            z[i] = x[i];
        else
            z[i] = y[i];
    }
}"""
