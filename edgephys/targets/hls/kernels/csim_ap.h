// Integers in steps, into and out of AMD's ap_fixed and ap_ufixed of at most 62 bits.

#ifndef CSIM_AP_H_
#define CSIM_AP_H_

#include "ap_fixed.h"

template <int W, int I, ap_q_mode Q, ap_o_mode O, int N> long long edge_integer(const ap_fixed<W, I, Q, O, N> &x) {
    ap_int<W> bits = x.range();
    return bits.to_int64();
}

template <int W, int I, ap_q_mode Q, ap_o_mode O, int N> long long edge_integer(const ap_ufixed<W, I, Q, O, N> &x) {
    ap_uint<W> bits = x.range();
    return bits.to_int64();
}

template <class data_T> void edge_set(data_T &x, long long integer) { x.range() = ap_int<64>(integer); }

#endif
