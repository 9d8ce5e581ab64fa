// exp, sigmoid, tanh and rounding on vectors.
#pragma once

#include "vec.h"

namespace drawgan::DRAWGAN_ISA {

// To the nearest whole number, ties to even; |x| below 2^22 (float) or 2^51 (double).
template <class T>
DRAWGAN_INLINE Vec<T> nearest(Vec<T> x) {
  constexpr T magic = sizeof(T) == 4 ? T(12582912) : T(6755399441055744);  // 1.5 * 2^23, 2^52
  return (x + magic) - magic;
}

// x between two limits; NaN stays NaN. In two instructions: of the comparisons below compilers make
// four. (Masked, because GCC 12 warns of its own unmasked intrinsics: its bug 105593.)
DRAWGAN_INLINE Vec<float> held(Vec<float> x, float low, float high) {
#if defined(__AVX512F__)
  constexpr __mmask16 all = 0xffff;
  const __m512 raised = _mm512_maskz_max_ps(all, _mm512_set1_ps(low), (__m512)x);
  return (Vec<float>)_mm512_maskz_min_ps(all, _mm512_set1_ps(high), raised);
#elif defined(__AVX2__)
  return (Vec<float>)_mm256_min_ps(_mm256_set1_ps(high),
                                   _mm256_max_ps(_mm256_set1_ps(low), (__m256)x));
#else
  x = x < low ? splat(low) : x;
  return x > high ? splat(high) : x;
#endif
}

constexpr float kWhole = 12582912.f;  // 1.5 * 2^23: added, it leaves a whole number in the low bits

// p * 2^n for normal results, with t = n + kWhole.
DRAWGAN_INLINE Vec<float> times_power(Vec<float> p, [[maybe_unused]] Vec<float> t,
                                      [[maybe_unused]] Vec<float> n) {
#if defined(__AVX512F__)
  return (Vec<float>)_mm512_maskz_scalef_ps(0xffff, (__m512)p, (__m512)n);
#else
  // Unsigned: lanes whose result is thrown away may wrap.
  typedef uint32_t Words __attribute__((vector_size(kVectorBytes)));
  return p * (Vec<float>)(((Words)t << 23) + 0x3f800000u);
#endif
}

// e^x with a relative error of 1e-7, for exponents of normal numbers.
DRAWGAN_INLINE Vec<float> vexp_within(Vec<float> x) {
  const Vec<float> t = x * 1.44269504f + kWhole, n = t - kWhole;
  const Vec<float> r = x - n * 0.693359375f + n * 2.12194440e-4f;
  Vec<float> p = 1.9875691500e-4f * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.f;
  return times_power(p, t, n);
}
// x held within the exponents of normal numbers.
DRAWGAN_INLINE Vec<float> vexp_saturated(Vec<float> x) {
  return vexp_within(held(x, -87.3f, 88.3f));
}
// The same, but exactly 0 below the smallest normal number: a Gaussian filter's far pixels must not
// be multiplied by huge exponents.
DRAWGAN_INLINE Vec<float> vexp(Vec<float> x) {
  return x < -87.3f ? Vec<float>{} : vexp_saturated(x);
}
// vexp(-u) for u that is not below 0 by more than rounding.
DRAWGAN_INLINE Vec<float> vexp_negated(Vec<float> u) {
  return u > 87.3f ? Vec<float>{} : vexp_within(-u);
}
// Double precision is there for checking gradients: exact before fast.
DRAWGAN_INLINE Vec<double> vexp(Vec<double> x) {
  Vec<double> y{};
  for (int i = 0; i < kLanes<double>; i++) y[i] = __builtin_exp(x[i]);
  return y;
}

DRAWGAN_INLINE Vec<double> vexp_negated(Vec<double> u) { return vexp(-u); }

// 1 / x for normal 1 / x, to a rounding and a half. A division keeps its unit busy for longer than
// a whole exponential takes.
DRAWGAN_INLINE Vec<float> reciprocal(Vec<float> x) {
#if defined(__AVX512F__)
  const Vec<float> y = (Vec<float>)_mm512_maskz_rcp14_ps(0xffff, (__m512)x);
  return y + y * (1.f - x * y);
#else
  return 1.f / x;
#endif
}

// Its e^-x is shorter than the one above, with a relative error of 1.1e-7: of the sigmoid that is a
// quarter at most, but for values near 0.
DRAWGAN_INLINE Vec<float> vsigmoid(Vec<float> x) {
  x = held(x, -87.f, 87.f);  // 1 + e^87 has a normal reciprocal
  const Vec<float> t = kWhole - x * 1.44269504f, n = t - kWhole, r = x + n * 0.693147181f;
  Vec<float> p = 4.18903306e-2f - 8.31249263e-3f * r;
  p = p * r - 1.66671157e-1f;
  p = p * r + 4.99992311e-1f;
  p = p * r - 1.f;
  return reciprocal(1.f + times_power(p * r + 1.f, t, n));
}
DRAWGAN_INLINE Vec<double> vsigmoid(Vec<double> x) { return 1. / (1. + vexp(-x)); }

// Rational minimax approximation of degree 13/6, the coefficients widely used for float tanh.
DRAWGAN_INLINE Vec<float> vtanh(Vec<float> x) {
  x = held(x, -7.90531110763549805f, 7.90531110763549805f);
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

// KL(N(mu, sigma^2) || N(0, 1)) = (mu^2 + e^u - 1 - u) / 2 with u = 2 log sigma. Near the prior
// e^u - 1 - u is of the order of u^2: there its series, elsewhere the difference.
DRAWGAN_INLINE Vec<float> kl_standard_normal(Vec<float> mu, Vec<float> log_sigma,
                                             Vec<float> sigma) {
  const Vec<float> u = 2.f * log_sigma;
  Vec<float> p = u * (1 / 3628800.f) + 1 / 362880.f;
  p = p * u + 1 / 40320.f;
  p = p * u + 1 / 5040.f;
  p = p * u + 1 / 720.f;
  p = p * u + 1 / 120.f;
  p = p * u + 1 / 24.f;
  p = p * u + 1 / 6.f;
  p = p * u + 1 / 2.f;
  const auto near = (u > -1.f) & (u < 1.f);
  return .5f * (mu * mu + (near ? p * (u * u) : sigma * sigma - 1.f - u));
}
DRAWGAN_INLINE Vec<double> kl_standard_normal(Vec<double> mu, Vec<double> log_sigma, Vec<double>) {
  Vec<double> y{};
  for (int i = 0; i < kLanes<double>; i++) {
    const double u = 2 * log_sigma[i];
    y[i] = .5 * (mu[i] * mu[i] + (__builtin_expm1(u) - u));
  }
  return y;
}

}  // namespace drawgan::DRAWGAN_ISA
