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
  // For backward: means under F of what a filter's derivatives are made of, as far as its divisor
  // moves with its sum; and the sum of F.
  T *mean_lever, *mean_exponent, *share;
  int64_t *first, *last;
  Vec<T>* parts;  // scratch: three sets of vectors, one a filter
  T* sums;        // scratch: a number per filter
  int64_t best;   // `total`: the filter nearest to its pixel, and that distance
  T d_best;

  Filters(int64_t N, int64_t pixels, Arena<T>& arena)
      : N(N), pixels(pixels), ld(round_up(pixels, kLanes<T>)), best(0), d_best(0) {
    F = arena.take(N * ld);
    origin = arena.take(padded());
    mirror = arena.take(padded());
    shift = arena.take(padded());
    lift = arena.take(padded());
    mean_lever = arena.take(padded());
    mean_exponent = arena.take(padded());
    share = arena.take(padded());
    first = arena.template take<int64_t>(N);
    last = arena.template take<int64_t>(N);
    parts = arena.template take<Vec<T>>(3 * padded());
    sums = arena.take(padded());
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
DRAWGAN_INLINE Vec<T> lever(const Filters<T>& f, int64_t k, Vec<T> p) {
  return Total ? p - f.origin[k] + f.shift[k] : p - f.origin[k];
}
template <class T, bool Total>
DRAWGAN_INLINE Vec<T> exponent(const Filters<T>& f, T h, int64_t k, Vec<T> p) {
  const Vec<T> u = (p - f.origin[k]) * (p + f.mirror[k]) * h;
  return Total ? u + f.lift[k] : u;
}

template <class T, bool Relative, bool Total, bool Backward>
static inline void build_filters_as(const WindowMap& map, const Window<T>& w, T centre,
                                    Filters<T>& placed) {
  constexpr int L = kLanes<T>;
  const T h = w.half_precision, pixels = static_cast<T>(placed.pixels);
  place_filters<T, Relative, Total>(w.delta, h, centre, placed);
  const Filters<T> f = placed;  // a copy, whose pointers no store can change, stays in registers
  Vec<T>*levers = f.parts + f.padded(), *exponents = levers + f.padded();
  for (int64_t k = 0; k < f.N; k++) {
    Vec<T> sum{}, sum_of_levers{}, sum_of_exponents{};
    for (int64_t v = 0; v < f.ld; v += L) {
      const Vec<T> p = iota<T>() + static_cast<T>(v), u = exponent<T, Total>(f, h, k, p);
      const Vec<T> e = vexp_negated(u), kept = p < pixels ? e : Vec<T>{};
      store(f.F + k * f.ld + v, kept);
      sum += kept;
      if (!Backward) continue;
      sum_of_levers += kept * lever<T, Total>(f, k, p);
      sum_of_exponents += kept * u;
    }
    f.parts[k] = sum;
    if (!Backward) continue;
    levers[k] = sum_of_levers;
    exponents[k] = sum_of_exponents;
  }
  sum_each(f.parts, f.N, f.sums);
  if constexpr (Backward) {
    sum_each(levers, f.N, f.mean_lever);
    sum_each(exponents, f.N, f.mean_exponent);
  }
  T everything = 0;
  if constexpr (Total)
    for (int64_t k = 0; k < f.N; k++) everything += f.sums[k];
  for (int64_t k = 0; k < f.N; k += L) {
    const Vec<T> sum = load(f.sums + k), scale = 1 / divisor(map, sum, pixels, everything);
    store(f.sums + k, scale);
    if (!Backward) continue;
    Vec<T> falls = scale;  // by how much F falls with the filter's sum, over F
    if (map.normalisation == Normalisation::none) falls = Vec<T>{};
    if (map.normalisation == Normalisation::max)
      falls = sum < static_cast<T>(map.eps) ? Vec<T>{} : falls;
    store(f.mean_lever + k, load(f.mean_lever + k) * falls);
    store(f.mean_exponent + k, load(f.mean_exponent + k) * falls);
    store(f.share + k, sum * scale);
  }
  for (int64_t k = 0; k < f.N; k++) {
    const T scale = f.sums[k];
    for (int64_t v = 0; v < f.ld; v += L) {
      T* at = f.F + k * f.ld + v;
      store(at, load(at) * scale);
    }
  }
}

template <class T, bool Backward>
static inline void build_filters(const WindowMap& map, const Window<T>& w, T centre,
                                 Filters<T>& f) {
  if (map.normalisation == Normalisation::softmax)
    build_filters_as<T, true, false, Backward>(map, w, centre, f);
  else if (map.normalisation == Normalisation::total)
    build_filters_as<T, true, true, Backward>(map, w, centre, f);
  else
    build_filters_as<T, false, false, Backward>(map, w, centre, f);
}

// Of a loss, through the filters of one axis.
template <class T>
struct FiltersGradient {
  T centre, delta, log_sigma2;
  T total;  // <dL/dF, F>
};

// dF [N, ld] is dL/dF; where F is 0 it may be anything finite.
template <class T, bool Total>
static inline FiltersGradient<T> filters_backward_as(const Window<T>& w, const Filters<T> f,
                                                     const T* dF) {
  constexpr int L = kLanes<T>;
  const T h = w.half_precision, middle = f.middle();
  T mean_stride = 0;
  if constexpr (Total) {  // every filter's sum is all filters'
    T levers = 0, exponents = 0;
    for (int64_t k = 0; k < f.N; k++) {
      levers += f.mean_lever[k];
      exponents += f.mean_exponent[k];
      mean_stride += (static_cast<T>(k) - middle) * f.mean_lever[k] +
                     f.d_best * static_cast<T>(k - f.best) * f.share[k];
    }
    for (int64_t k = 0; k < f.N; k++) f.mean_lever[k] = levers, f.mean_exponent[k] = exponents;
  }
  Vec<T> centre{}, delta{}, log_sigma2{}, total{};
  for (int64_t k = 0; k < f.N; k++) {
    const T steps = static_cast<T>(k) - middle;
    const T apart = Total ? f.d_best * static_cast<T>(k - f.best) - mean_stride : T(0);
    const T mean_lever = f.mean_lever[k], mean_exponent = f.mean_exponent[k];
    Vec<T> moved{};
    for (int64_t v = 0; v < f.ld; v += L) {
      const Vec<T> p = iota<T>() + static_cast<T>(v), arm = lever<T, Total>(f, k, p);
      const Vec<T> d = load(dF + k * f.ld + v) * load(f.F + k * f.ld + v);
      total += d;
      moved += d * (arm - mean_lever);
      log_sigma2 += d * (exponent<T, Total>(f, h, k, p) - mean_exponent);
      if (Total) delta += d * (steps * arm + apart);
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
