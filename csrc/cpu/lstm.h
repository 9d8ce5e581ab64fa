// The pointwise half of an LSTM. Gates lie interleaved, a vector of units at a time: [i f g o] of
// the first kLanes units, [i f g o] of the next, and so on; units beyond the last are zero and stay
// zero.
#pragma once

#include "vector_math.h"

namespace drawgan::DRAWGAN_ISA {

// gates [4 vectors]: sums in, activations out.
template <class T>
DRAWGAN_INLINE void lstm_forward(T* gates, Vec<T> c_prev, Vec<T>* c, Vec<T>* h) {
  constexpr int L = kLanes<T>;
  const Vec<T> i = vsigmoid(load(gates)), f = vsigmoid(load(gates + L));
  const Vec<T> g = vtanh(load(gates + 2 * L)), o = vsigmoid(load(gates + 3 * L));
  *c = f * c_prev + i * g;
  *h = o * vtanh(*c);
  store(gates, i);
  store(gates + L, f);
  store(gates + 2 * L, g);
  store(gates + 3 * L, o);
}

// From activations to the gradients of the sums; d_c is that of c in and of c_prev out.
template <class T>
DRAWGAN_INLINE void lstm_backward(const Vec<T> (&gates)[4], Vec<T> c_prev, Vec<T> c, Vec<T> d_h,
                                  Vec<T>* d_c, Vec<T> (&d_gates)[4]) {
  const auto [i, f, g, o] = gates;
  const Vec<T> tanh_c = vtanh(c);
  const Vec<T> d = *d_c + d_h * o * (T(1) - tanh_c * tanh_c);
  d_gates[0] = d * g * i * (T(1) - i);
  d_gates[1] = d * c_prev * f * (T(1) - f);
  d_gates[2] = d * i * (T(1) - g * g);
  d_gates[3] = d_h * tanh_c * o * (T(1) - o);
  *d_c = d * f;
}

// Column n of interleaved numbers with `parts` parts -> which part, and which unit.
struct Interleaved {
  int64_t part, unit;
};
template <class T>
constexpr Interleaved deinterleaved(int64_t n, int64_t parts) {
  constexpr int64_t L = kLanes<T>;
  return {n / L % parts, n / (L * parts) * L + n % L};
}

}  // namespace drawgan::DRAWGAN_ISA
