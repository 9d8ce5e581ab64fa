// The Gaussian filters of one axis, and the way back from their gradient to the window's numbers.
// Derivation: docs/filterbank.md.
#pragma once

#include "arena.h"
#include "window.h"

namespace drawgan::DRAWGAN_ISA {

// F [N, ld] with zeros beyond P pixels, and per filter k what its exponents are made of:
//
//     u_kp = (p - origin)(p + mirror) h + lift        lever = p - origin + shift
//     du/d(mu) = -2 h lever        F = e^-u / D
//
// Filter k is exactly 0 before pixel first[k] and from pixel last[k] on; both grow with k.
template <class T>
struct Filters {
  int64_t N, pixels, ld;
  T* F;
  T *origin, *mirror, *shift, *lift;
  T* coupling;  // dD/dS of D with the filter's sum S; with `total`, S / D
  int64_t *first, *last;
  Vec<T>* parts;  // scratch: three sets of vectors, one a filter
  T* sums;        // scratch: three sets of numbers, one a filter
  int64_t best;   // `total`: the filter nearest to its pixel, and that distance
  T d_best;

  Filters(int64_t N, int64_t pixels, Arena<T>& arena)
      : N(N), pixels(pixels), ld(round_up(pixels, kLanes<T>)), best(0), d_best(0) {
    F = arena.take(N * ld);
    origin = arena.take(padded());
    mirror = arena.take(padded());
    shift = arena.take(padded());
    lift = arena.take(padded());
    coupling = arena.take(padded());
    first = arena.template take<int64_t>(N);
    last = arena.template take<int64_t>(N);
    parts = arena.template take<Vec<T>>(3 * padded());
    sums = arena.take(3 * padded());
  }
  int64_t padded() const { return round_up(N, kLanes<T>); }
  T middle() const { return T(0.5) * static_cast<T>(N - 1); }
};

// sums[k] = the sum of the lanes of parts[k]; there is room up to a whole vector of them.
template <class T>
static inline void sum_each(Vec<T>* parts, int64_t n, T* sums) {
  for (int64_t k = 0; k < n; k += kLanes<T>) {
    for (int64_t i = n; i < k + kLanes<T>; i++) parts[i] = Vec<T>{};
    store(sums + k, sums_of_lanes<T>(parts + k));
  }
}

// Where the filters end: e^-u is 0 beyond u = 87.3 (746 in double), and u >= (d^2 - d) h at d
// pixels from the origin, which is at most half a pixel from mu. NaN leaves the whole axis.
template <class T>
static inline void find_support(const Filters<T>& f, T half_precision) {
  const T pixels = static_cast<T>(f.pixels);
  const T reach = __builtin_sqrt((sizeof(T) == 4 ? 90 : 750) / half_precision) + 3;
  for (int64_t k = 0; k < f.N; k++) {
    const T from = f.origin[k] - reach, to = f.origin[k] + reach;
    f.first[k] = static_cast<int64_t>(smaller(pixels, larger(T(0), from)));
    f.last[k] = static_cast<int64_t>(larger(T(0), smaller(pixels, to)));
  }
}

template <class T>
DRAWGAN_INLINE Vec<T> divisor(const WindowMap& map, Vec<T> sum, T pixels, T everything) {
  const T eps = static_cast<T>(map.eps);
  switch (map.normalisation) {
    case Normalisation::softmax:
      return sum;
    case Normalisation::add:
      return sum + eps;
    case Normalisation::max:
      return sum < eps ? splat(eps) : sum;
    case Normalisation::each:
      return sum + pixels * eps;
    case Normalisation::total:
      return splat(everything);
    case Normalisation::none:
      break;
  }
  return splat(T(1));
}

// Exponents are taken relative to the pixel nearest to the filter where the normalisation allows
// it: no digits are lost however far off the image the window is.
template <class T, bool Relative, bool Total>
static inline void place_filters(T delta, T h, T centre, Filters<T>& f) {
  constexpr int L = kLanes<T>;
  const T middle = f.middle(), last = static_cast<T>(f.pixels - 1);
  T* mu = f.sums;
  for (int64_t k = 0; k < f.N; k += L) {
    const Vec<T> at = centre + (iota<T>() + (static_cast<T>(k) - middle)) * delta;
    Vec<T> origin = at;
    if constexpr (Relative) {
      origin = origin < T(0) ? Vec<T>{} : origin;
      origin = nearest<T>(origin > last ? splat(last) : origin);
    }
    store(mu + k, at);
    store(f.origin + k, origin);
    store(f.mirror + k, origin - 2 * at);
  }
  if constexpr (Total) {
    auto distance = [&](int64_t k) { return f.origin[k] - mu[k]; };
    int64_t best = 0;
    for (int64_t k = 1; k < f.N; k++)
      if (__builtin_fabs(distance(k)) < __builtin_fabs(distance(best))) best = k;
    f.best = best;
    f.d_best = distance(best);
    // d_k - d_best from the grid itself, so that it is exactly 0 for the best filter.
    for (int64_t k = 0; k < f.N; k++) {
      f.shift[k] = f.origin[k] - f.origin[best] - static_cast<T>(k - best) * delta;
      f.lift[k] = f.shift[k] * (distance(k) + f.d_best) * h;
    }
  }
}

template <class T, bool Total>
DRAWGAN_INLINE Vec<T> exponent(const Filters<T>& f, T h, int64_t k, Vec<T> p) {
  const Vec<T> u = (p - f.origin[k]) * (p + f.mirror[k]) * h;
  if constexpr (Total)
    return u + f.lift[k];
  else
    return u;
}

template <class T, bool Relative, bool Total>
static inline void build_filters_as(const WindowMap& map, const Window<T>& w, T centre,
                                    Filters<T>& f) {
  constexpr int L = kLanes<T>;
  const T h = w.half_precision, pixels = static_cast<T>(f.pixels);
  place_filters<T, Relative, Total>(w.delta, h, centre, f);
  for (int64_t k = 0; k < f.N; k++) {
    Vec<T> sum{};
    for (int64_t v = 0; v < f.ld; v += L) {
      const Vec<T> p = iota<T>() + static_cast<T>(v);
      const Vec<T> e = vexp_negated(exponent<T, Total>(f, h, k, p));
      const Vec<T> kept = p < pixels ? e : Vec<T>{};
      store(f.F + k * f.ld + v, kept);
      sum += kept;
    }
    f.parts[k] = sum;
  }
  sum_each(f.parts, f.N, f.sums);
  T everything = 0;
  if constexpr (Total)
    for (int64_t k = 0; k < f.N; k++) everything += f.sums[k];
  for (int64_t k = 0; k < f.N; k += L) {
    const Vec<T> sum = load(f.sums + k), scale = 1 / divisor(map, sum, pixels, everything);
    Vec<T> coupling = splat(T(1));
    if (Total) coupling = sum * scale;
    if (map.normalisation == Normalisation::none) coupling = Vec<T>{};
    if (map.normalisation == Normalisation::max)
      coupling = sum < static_cast<T>(map.eps) ? Vec<T>{} : coupling;
    store(f.coupling + k, coupling);
    store(f.sums + k, scale);
  }
  for (int64_t k = 0; k < f.N; k++)
    for (int64_t v = 0; v < f.ld; v += L) {
      T* at = f.F + k * f.ld + v;
      store(at, load(at) * f.sums[k]);
    }
}

template <class T>
static inline void build_filters(const WindowMap& map, const Window<T>& w, T centre,
                                 Filters<T>& f) {
  if (map.normalisation == Normalisation::softmax)
    build_filters_as<T, true, false>(map, w, centre, f);
  else if (map.normalisation == Normalisation::total)
    build_filters_as<T, true, true>(map, w, centre, f);
  else
    build_filters_as<T, false, false>(map, w, centre, f);
}

// Of a loss, through the filters of one axis.
template <class T>
struct FiltersGradient {
  T centre, delta, log_sigma2;
  T total;  // <dL/dF, F>
};

// dF [N, ld] is dL/dF; where F is 0 it may be anything finite.
template <class T, bool Total>
static inline FiltersGradient<T> filters_backward_as(const Window<T>& w, const Filters<T>& f,
                                                     const T* dF) {
  constexpr int L = kLanes<T>;
  const T h = w.half_precision, middle = f.middle();
  auto lever_of = [&](int64_t k, Vec<T> p) __attribute__((always_inline)) {
    return Total ? p - f.origin[k] + f.shift[k] : p - f.origin[k];
  };
  // What moving the sum of a filter takes away: means under F of what its derivatives are made of.
  T *mean_lever = f.sums, *mean_exponent = mean_lever + f.padded(), mean_stride = 0;
  {
    Vec<T>*levers = f.parts, *exponents = levers + f.padded();
    for (int64_t k = 0; k < f.N; k++) {
      levers[k] = exponents[k] = Vec<T>{};
      for (int64_t v = 0; v < f.ld; v += L) {
        const Vec<T> p = iota<T>() + static_cast<T>(v), F = load(f.F + k * f.ld + v);
        levers[k] += F * lever_of(k, p);
        exponents[k] += F * exponent<T, Total>(f, h, k, p);
      }
    }
    sum_each(levers, f.N, mean_lever);
    sum_each(exponents, f.N, mean_exponent);
  }
  if constexpr (Total) {
    T lever = 0, expo = 0;
    for (int64_t k = 0; k < f.N; k++) {
      lever += mean_lever[k];
      expo += mean_exponent[k];
      mean_stride += (static_cast<T>(k) - middle) * mean_lever[k] +
                     f.d_best * static_cast<T>(k - f.best) * f.coupling[k];
    }
    for (int64_t k = 0; k < f.N; k++) mean_lever[k] = lever, mean_exponent[k] = expo;
  } else {
    for (int64_t k = 0; k < f.N; k += L) {
      const Vec<T> coupling = load(f.coupling + k);
      store(mean_lever + k, load(mean_lever + k) * coupling);
      store(mean_exponent + k, load(mean_exponent + k) * coupling);
    }
  }
  Vec<T> centre{}, delta{}, log_sigma2{}, total{};
  for (int64_t k = 0; k < f.N; k++) {
    const T steps = static_cast<T>(k) - middle;
    const T apart = Total ? f.d_best * static_cast<T>(k - f.best) - mean_stride : T(0);
    Vec<T> moved{};
    for (int64_t v = 0; v < f.ld; v += L) {
      const Vec<T> p = iota<T>() + static_cast<T>(v), lever = lever_of(k, p);
      const Vec<T> d = load(dF + k * f.ld + v) * load(f.F + k * f.ld + v);
      total += d;
      moved += d * (lever - mean_lever[k]);
      log_sigma2 += d * (exponent<T, Total>(f, h, k, p) - mean_exponent[k]);
      if (Total) delta += d * (steps * lever + apart);
    }
    centre += moved;
    if (!Total) delta += steps * moved;
  }
  return {2 * h * sum_of_lanes<T>(centre), 2 * h * sum_of_lanes<T>(delta),
          sum_of_lanes<T>(log_sigma2), sum_of_lanes<T>(total)};
}
template <class T>
static inline FiltersGradient<T> filters_backward(const WindowMap& map, const Window<T>& w,
                                                  const Filters<T>& f, const T* dF) {
  return map.normalisation == Normalisation::total ? filters_backward_as<T, true>(w, f, dF)
                                                   : filters_backward_as<T, false>(w, f, dF);
}

}  // namespace drawgan::DRAWGAN_ISA
