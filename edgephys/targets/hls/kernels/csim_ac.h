// Integers in steps, into and out of Siemens' ac_fixed of at most 62 bits.

#ifndef CSIM_AC_H_
#define CSIM_AC_H_

#include "ac_fixed.h"

const char *get_weights_dir() { return "weights"; } // asked for by hls4ml's reader of weights

template <int W, int I, bool S, ac_q_mode Q, ac_o_mode O> long long edge_integer(const ac_fixed<W, I, S, Q, O> &x) {
    const ac_int<W, S> bits = x.template slc<W>(0);
    return bits.to_int64();
}

template <int W, int I, bool S, ac_q_mode Q, ac_o_mode O> void edge_set(ac_fixed<W, I, S, Q, O> &x, long long integer) {
    x.set_slc(0, ac_int<W, S>(integer));
}

#endif
