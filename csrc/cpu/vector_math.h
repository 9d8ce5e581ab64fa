// exp, sigmoid, tanh and rounding on vectors.
#pragma once

#include "vec.h"

namespace drawgan::DRAWGAN_ISA {

// To the nearest whole number, ties to even; |x| below 2^22 (float) or 2^51 (double).
template <class T>
DRAWGAN_INLINE T nearest(T x) {
  constexpr T magic = sizeof(T) == 4 ? T(12582912) : T(6755399441055744);  // 1.5 * 2^23, 2^52
  return (x + magic) - magic;
}

// Relative error 1e-7 in float; exactly 0 below the smallest normal number (a Gaussian filter's far
// pixels must not be multiplied by huge exponents), saturated at e^88.3 above.
DRAWGAN_INLINE Vec<float> vexp(Vec<float> x) {
  const Bits<float> tiny = x < -87.3f;
  x = tiny ? splat(-87.3f) : x;
  x = x > 88.3f ? splat(88.3f) : x;
  const float magic = 12582912.f;  // the rounded quotient stays in the low bits of t
  const Vec<float> t = x * 1.44269504f + magic, n = t - magic;
  const Vec<float> r = x - n * 0.693359375f + n * 2.12194440e-4f;
  Vec<float> p = 1.9875691500e-4f * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.f;
  const Bits<float> scale = ((Bits<float>)t << 23) + 0x3f800000;
  p *= (Vec<float>)scale;
  return tiny ? Vec<float>{} : p;
}
// Double precision is there for checking gradients: exact before fast.
DRAWGAN_INLINE Vec<double> vexp(Vec<double> x) {
  Vec<double> y{};
  for (int i = 0; i < kLanes<double>; i++) y[i] = __builtin_exp(x[i]);
  return y;
}

template <class T>
DRAWGAN_INLINE Vec<T> vsigmoid_of(Vec<T> x) {
  return T(1) / (T(1) + vexp(-x));
}
DRAWGAN_INLINE Vec<float> vsigmoid(Vec<float> x) { return vsigmoid_of<float>(x); }
DRAWGAN_INLINE Vec<double> vsigmoid(Vec<double> x) { return vsigmoid_of<double>(x); }

// Rational minimax approximation of degree 13/6, the coefficients widely used for float tanh.
DRAWGAN_INLINE Vec<float> vtanh(Vec<float> x) {
  x = x < -7.90531110763549805f ? splat(-7.90531110763549805f) : x;
  x = x > 7.90531110763549805f ? splat(7.90531110763549805f) : x;
  const Vec<float> s = x * x;
  Vec<float> p = -2.76076847742355e-16f * s + 2.00018790482477e-13f;
  p = p * s - 8.60467152213735e-11f;
  p = p * s + 5.12229709037114e-08f;
  p = p * s + 1.48572235717979e-05f;
  p = p * s + 6.37261928875436e-04f;
  p = p * s + 4.89352455891786e-03f;
  Vec<float> q = 1.19825839466702e-06f * s + 1.18534705686654e-04f;
  q = q * s + 2.26843463243900e-03f;
  q = q * s + 4.89352518554385e-03f;
  return x * p / q;
}
DRAWGAN_INLINE Vec<double> vtanh(Vec<double> x) {
  Vec<double> y{};
  for (int i = 0; i < kLanes<double>; i++) y[i] = __builtin_tanh(x[i]);
  return y;
}

}  // namespace drawgan::DRAWGAN_ISA
