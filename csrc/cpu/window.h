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

// Filters of one axis with P pixels, one set after another, each [N, ld] with zeros beyond P:
//
//     0: F          1: dF/d(mu)        2: dF/d(log sigma^2)
//     with normalisation `total`, where a filter depends on all the others:
//     0: F          1: dF/d(centre)    2: dF/d(log sigma^2)    3: dF/d(delta)
//
// so that the gradient of any loss through a window is a dot product of these with dL/dF.
template <class T>
struct Filters {
  T* set[4];
  int64_t N, pixels, ld;
};

static inline int filter_sets(const WindowMap& map, bool derivatives) {
  return !derivatives ? 1 : map.normalisation == Normalisation::total ? 4 : 3;
}

// Numbers of scratch that build_filters needs.
template <class T>
constexpr int64_t filter_scratch(int64_t N) {
  const int64_t filters = round_up(N, kLanes<T>);
  return 3 * filters * kLanes<T> + 8 * filters;
}

template <class T>
static inline void sum_each(Vec<T>* parts, int64_t n, T* sums) {  // parts: up to a whole vector
  for (int64_t k = 0; k < n; k += kLanes<T>) {
    for (int64_t i = n; i < k + kLanes<T>; i++) parts[i] = Vec<T>{};
    store(sums + k, sums_of_lanes<T>(parts + k));
  }
}

template <class T, bool Relative, bool Total, bool Derivatives>
static inline void build_filters_as(const WindowMap& map, const Window<T>& w, T centre,
                                    const Filters<T>& f, T* scratch) {
  constexpr int L = kLanes<T>;
  const Normalisation norm = map.normalisation;
  const int64_t N = f.N, filters = round_up(N, L);
  auto* parts = reinterpret_cast<Vec<T>*>(scratch);
  auto *levers = parts + filters, *exponents = levers + filters;
  T* sums = scratch + 3 * filters * L;
  T *mu = sums + filters, *origin = mu + filters, *shift = origin + filters;
  T *scale = shift + filters, *coupling = scale + filters;
  T *mean_lever = coupling + filters, *mean_exponent = mean_lever + filters;
  const T h = w.half_precision, middle = T(0.5) * (N - 1), pixels = static_cast<T>(f.pixels);

  // Exponents are taken relative to the pixel nearest to the filter where the normalisation allows
  // it, as (p - p*)(p + p* - 2 mu) h: no digits are lost however far off the image the window is.
  int64_t best = 0;
  for (int64_t k = 0; k < N; k++) {
    mu[k] = centre + (k - middle) * w.delta;
    origin[k] = Relative ? nearest(smaller(larger(mu[k], T(0)), pixels - 1)) : mu[k];
    shift[k] = 0;
    const T here = origin[k] - mu[k], least = origin[best] - mu[best];
    if (Total && (here < 0 ? -here : here) < (least < 0 ? -least : least)) best = k;
  }
  const T d_best = origin[best] - mu[best];
  if (Total)  // d_k - d_best from the grid itself, so that it is exactly 0 for the best filter
    for (int64_t k = 0; k < N; k++) shift[k] = origin[k] - origin[best] - (k - best) * w.delta;
  auto exponent = [&](int64_t k, Vec<T> p) __attribute__((always_inline)) {
    Vec<T> u = p - origin[k];
    u = (Relative ? u * (p + origin[k] - 2 * mu[k]) : u * u) * h;
    if (Total) u += shift[k] * (origin[k] - mu[k] + d_best) * h;
    return u;
  };

  for (int64_t k = 0; k < N; k++) {
    Vec<T> sum{}, lever{}, expo{};
    for (int64_t v = 0; v < f.ld; v += L) {
      const Vec<T> p = iota<T>() + static_cast<T>(v), u = exponent(k, p), e = vexp(-u);
      const Vec<T> kept = p < pixels ? e : Vec<T>{};
      store(f.set[0] + k * f.ld + v, kept);
      sum += kept;
      if (!Derivatives) continue;
      lever += kept * (p - origin[k] + shift[k]);
      expo += kept * u;
    }
    parts[k] = sum;
    levers[k] = lever;
    exponents[k] = expo;
  }
  sum_each(parts, N, sums);
  T everything = 0;
  for (int64_t k = 0; k < N; k++) everything += sums[k];
  const T eps = static_cast<T>(map.eps);
  for (int64_t k = 0; k < N; k++) {
    coupling[k] = 1;  // how the divisor moves with the sum
    switch (norm) {
      case Normalisation::softmax:
        scale[k] = 1 / sums[k];
        break;
      case Normalisation::add:
        scale[k] = 1 / (sums[k] + eps);
        break;
      case Normalisation::max:
        scale[k] = 1 / larger(sums[k], eps);
        coupling[k] = sums[k] >= eps;
        break;
      case Normalisation::each:
        scale[k] = 1 / (sums[k] + pixels * eps);
        break;
      case Normalisation::total:
        scale[k] = 1 / everything;
        break;
      case Normalisation::none:
        scale[k] = 1;
        coupling[k] = 0;
        break;
    }
  }
  if constexpr (!Derivatives) {
    for (int64_t k = 0; k < N; k++)
      for (int64_t v = 0; v < f.ld; v += L) {
        T* at = f.set[0] + k * f.ld + v;
        store(at, load(at) * scale[k]);
      }
    return;
  }

  // Means under F of what a filter's derivatives are made of.
  sum_each(levers, N, mean_lever);
  sum_each(exponents, N, mean_exponent);
  T mean_stride = 0;
  if (Total) {
    T lever = 0, expo = 0;
    for (int64_t k = 0; k < N; k++) {
      lever += mean_lever[k] * scale[k];
      expo += mean_exponent[k] * scale[k];
      mean_stride += ((k - middle) * mean_lever[k] + d_best * (k - best) * sums[k]) * scale[k];
    }
    for (int64_t k = 0; k < N; k++) {
      mean_lever[k] = lever;
      mean_exponent[k] = expo;
    }
  } else {
    for (int64_t k = 0; k < N; k++) {
      mean_lever[k] *= coupling[k] * scale[k];
      mean_exponent[k] *= coupling[k] * scale[k];
    }
  }
  for (int64_t k = 0; k < N; k++)
    for (int64_t v = 0; v < f.ld; v += L) {
      const Vec<T> p = iota<T>() + static_cast<T>(v);
      const int64_t at = k * f.ld + v;
      const Vec<T> F = load(f.set[0] + at) * scale[k], lever = p - origin[k] + shift[k];
      store(f.set[0] + at, F);
      store(f.set[1] + at, 2 * h * (F * (lever - mean_lever[k])));
      store(f.set[2] + at, F * (exponent(k, p) - mean_exponent[k]));
      if (Total)
        store(f.set[3] + at,
              2 * h * (F * ((k - middle) * lever + (d_best * (k - best) - mean_stride))));
    }
}

template <class T, bool Derivatives>
static inline void build_filters_by_kind(const WindowMap& map, const Window<T>& w, T centre,
                                         const Filters<T>& f, T* scratch) {
  if (map.normalisation == Normalisation::softmax)
    build_filters_as<T, true, false, Derivatives>(map, w, centre, f, scratch);
  else if (map.normalisation == Normalisation::total)
    build_filters_as<T, true, true, Derivatives>(map, w, centre, f, scratch);
  else
    build_filters_as<T, false, false, Derivatives>(map, w, centre, f, scratch);
}
template <class T>
static inline void build_filters(const WindowMap& map, const Window<T>& w, T centre,
                                 const Filters<T>& f, bool derivatives, T* scratch) {
  if (derivatives)
    build_filters_by_kind<T, true>(map, w, centre, f, scratch);
  else
    build_filters_by_kind<T, false>(map, w, centre, f, scratch);
}

}  // namespace drawgan::DRAWGAN_ISA
