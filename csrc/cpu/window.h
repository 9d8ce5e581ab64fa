// The attention window of one sample: five raw numbers -> centre, stride, variance, intensity ->
// Gaussian filters, and the way back. Symbols and derivation: docs/filterbank.md.
#pragma once

#include "kernels.h"
#include "vector_math.h"

namespace drawgan::DRAWGAN_ISA {

template <class T>
struct Window {
  T x, y;            // middle of the grid, pixels from 0
  T delta;           // stride
  T half_precision;  // h = 1 / (2 sigma^2)
  T intensity;       // gamma on a read, gamma or its inverse on a write
};

template <class T>
struct WindowGradient {  // of a loss, with respect to
  T x = 0, y = 0;        // the middle
  T delta = 0;           // the stride, through the grid points
  T log_sigma2 = 0;
  T log_intensity = 0;
};

template <class T>
DRAWGAN_INLINE T clamped(T a, double low, double high) {
  return smaller(larger(a, static_cast<T>(low)), static_cast<T>(high));
}
template <class T>
DRAWGAN_INLINE bool inside(T a, double low, double high) {
  return a >= static_cast<T>(low) && a <= static_cast<T>(high);
}

template <class T>
struct WindowNumbers {  // the five numbers by name, and what saturates
  T x, y, log_sigma2, log_delta, log_gamma, power_of_gamma;
  bool sigma_free, gamma_free;
};

template <class T>
static inline WindowNumbers<T> numbers_of(const WindowMap& map, const T* params) {
  WindowNumbers<T> n;
  n.x = params[map.x];
  n.y = params[map.y];
  const T log_sigma2 =
      static_cast<T>(map.sigma_scale) * params[map.sigma] + static_cast<T>(map.sigma_bias);
  n.sigma_free = inside(log_sigma2, map.log_sigma2_low, map.log_sigma2_high);
  n.log_sigma2 = clamped(log_sigma2, map.log_sigma2_low, map.log_sigma2_high);
  n.log_delta = smaller(params[map.delta], static_cast<T>(map.max_log_delta));
  n.log_gamma = clamped(params[map.gamma], -map.max_log_gamma, map.max_log_gamma);
  T log_gamma = n.log_gamma;
  if (map.gamma_sigmoid)  // log sigmoid, without overflow
    log_gamma = smaller(log_gamma, T(0)) - static_cast<T>(__builtin_log1p(__builtin_exp(
                                               -__builtin_fabs(static_cast<double>(log_gamma)))));
  const T power = static_cast<T>(map.gamma_power) * log_gamma;
  n.gamma_free = inside(params[map.gamma], -map.max_log_gamma, map.max_log_gamma) &&
                 inside(power, -map.max_log_gamma, map.max_log_gamma);
  n.power_of_gamma = clamped(power, -map.max_log_gamma, map.max_log_gamma);
  return n;
}

template <class T>
DRAWGAN_INLINE T centre_number(const WindowMap& map, T g) {
  if (map.centre_tanh) return static_cast<T>(__builtin_tanh(static_cast<double>(g)));
  return clamped(g, -map.max_centre, map.max_centre);
}

template <class T>
static inline Window<T> window_of(const WindowMap& map, const T* params) {
  const WindowNumbers<T> n = numbers_of(map, params);
  T exponents[larger(kLanes<T>, 4)] = {-n.log_sigma2, n.log_delta,
                                       static_cast<T>(map.intensity_sign) * n.power_of_gamma};
  for (int i = 0; i < 4; i += kLanes<T>) store(exponents + i, vexp(load(exponents + i)));
  Window<T> w;
  w.half_precision = T(0.5) * exponents[0];
  w.delta = static_cast<T>(map.delta_scale) * exponents[1];
  w.intensity = exponents[2];
  const T shift = static_cast<T>(map.origin), to_middle = static_cast<T>(map.to_middle) * w.delta;
  w.x = static_cast<T>(map.extent_x) / 2 * (centre_number(map, n.x) + 1) + shift + to_middle;
  w.y = static_cast<T>(map.extent_y) / 2 * (centre_number(map, n.y) + 1) + shift + to_middle;
  if (map.swap_centres) {
    const T x = w.x;
    w.x = w.y;
    w.y = x;
  }
  return w;
}

template <class T>
static inline void window_backward(const WindowMap& map, const T* params, const Window<T>& w,
                                   WindowGradient<T> d, T* d_params) {
  const WindowNumbers<T> n = numbers_of(map, params);
  if (map.swap_centres) {
    const T x = d.x;
    d.x = d.y;
    d.y = x;
  }
  auto centre = [&](T g, T d_centre, double extent) {
    const T scaled = d_centre * static_cast<T>(extent / 2);
    if (!map.centre_tanh) return inside(g, -map.max_centre, map.max_centre) ? scaled : T(0);
    const T t = centre_number(map, g);
    return scaled * (1 - t * t);
  };
  const T d_delta = d.delta + static_cast<T>(map.to_middle) * (d.x + d.y);
  const bool delta_free = params[map.delta] <= static_cast<T>(map.max_log_delta);
  T d_gamma =
      static_cast<T>(map.intensity_sign) * static_cast<T>(map.gamma_power) * d.log_intensity;
  if (map.gamma_sigmoid)
    d_gamma *= static_cast<T>(1 / (1 + __builtin_exp(static_cast<double>(n.log_gamma))));
  d_params[map.x] = centre(n.x, d.x, map.extent_x);
  d_params[map.y] = centre(n.y, d.y, map.extent_y);
  d_params[map.sigma] = n.sigma_free ? static_cast<T>(map.sigma_scale) * d.log_sigma2 : T(0);
  d_params[map.delta] = delta_free ? d_delta * w.delta : T(0);
  d_params[map.gamma] = n.gamma_free ? d_gamma : T(0);
}

}  // namespace drawgan::DRAWGAN_ISA
