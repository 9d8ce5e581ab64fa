// Gaussian filters of an axis in shared memory, [N, P], and what a gradient of them says of their
// window. A warp takes one filter at a time, its lanes the pixels. Derivation: docs/triton.md.
#pragma once

#include "groups.cuh"
#include "window.cuh"

namespace drawgan::cuda {

struct Axis {
  float centre, delta, h;
  int P, N;  // pixels, filters
};

// One of both axes, by value: a reference would put them into memory.
__device__ inline Axis chosen(bool vertical, const Axis& y, const Axis& x) {
  return {vertical ? y.centre : x.centre, y.delta, y.h, vertical ? y.P : x.P, y.N};
}

// Where filter k lies. Exponents count from `origin`, the pixel nearest to it: no digits are lost
// however far off the image the window is. `total` needs one constant for all filters: `shift` is
// d_k - d_best, from the grid itself, so that it is exactly 0 for the filter nearest to any pixel;
// `far` = d_k + d_best and `lead` = d_best * (k - best).
struct Place {
  float mu, origin, shift, far, lead;
};

__device__ inline float filter_centre(const Axis& a, int k) {
  return a.centre + (static_cast<float>(k) - 0.5f * static_cast<float>(a.N - 1)) * a.delta;
}

__device__ inline float nearest_pixel(const Axis& a, float mu) {
  return clamped(floorf(mu + 0.5f), 0.f, static_cast<float>(a.P - 1));
}

__device__ inline Place place_of(const Convention& map, const Axis& a, int k) {
  Place place{};
  place.mu = filter_centre(a, k);
  place.origin = nearest_pixel(a, place.mu);
  if (map.normalisation != Normalisation::total) return place;
  int best = 0;
  float d_best = 0.f, origin_best = 0.f, least = INFINITY;
  for (int other = 0; other < a.N; other++) {
    const float mu = filter_centre(a, other), origin = nearest_pixel(a, mu);
    if (fabsf(origin - mu) < least) {
      best = other, least = fabsf(origin - mu), d_best = origin - mu, origin_best = origin;
    }
  }
  const float steps = static_cast<float>(k - best);
  place.shift = place.origin - origin_best - steps * a.delta;
  place.far = place.origin - place.mu + d_best;
  place.lead = d_best * steps;
  return place;
}

// A filter's value at pixel p before it is normalised, and its relative exponent u. The value is
// exp(-u) where the normalisation divides a constant out again, else exp(-(p - mu)^2 h).
struct Raw {
  float e, u;
};

__device__ inline Raw raw_filter(const Convention& map, const Axis& a, const Place& at, int pixel) {
  const float p = static_cast<float>(pixel);
  float u = (p - at.origin) * (p + at.origin - 2.f * at.mu) * a.h;
  if (map.normalisation == Normalisation::total) u += at.shift * at.far * a.h;
  float exponent = u;
  if (map.normalisation != Normalisation::softmax && map.normalisation != Normalisation::total)
    exponent = (p - at.mu) * (p - at.mu) * a.h;
  return {expf(-exponent), u};
}

// What normalises a filter, how its divisor moves with the sum (0 or 1), and what is then missing:
// slack = 1 - coupling * scale * sum.
struct Scale {
  float scale, coupling, slack;
};

__device__ inline Scale scale_of(const Convention& map, const Axis& a, float sum) {
  switch (map.normalisation) {
    case Normalisation::softmax:
    case Normalisation::total:
      return {1.f / sum, 1.f, 0.f};
    case Normalisation::add:
      return {1.f / (sum + map.eps), 1.f, map.eps / (sum + map.eps)};
    case Normalisation::max:
      return {1.f / fmaxf(sum, map.eps), sum >= map.eps ? 1.f : 0.f, sum >= map.eps ? 0.f : 1.f};
    case Normalisation::each: {
      const float missing = static_cast<float>(a.P) * map.eps;
      return {1.f / (sum + missing), 1.f, missing / (sum + missing)};
    }
    case Normalisation::none:
      break;
  }
  return {1.f, 0.f, 1.f};
}

// Filters of both axes. F_y is [N, H] and F_x [N, W], in shared memory as `sums` [2N], which only
// `total` uses. Ends in a barrier of the group.
template <class Group>
__device__ void make_filters(const Group& group, const Convention& map, const Axis& y,
                             const Axis& x, float* F_y, float* F_x, float* sums) {
  const int N = y.N, lane = group.lane();
  for (int item = group.warp(); item < 2 * N; item += group.warps()) {
    const Axis a = chosen(item < N, y, x);
    const int k = item < N ? item : item - N;
    float* F = (item < N ? F_y : F_x) + k * a.P;
    const Place at = place_of(map, a, k);
    float sum = 0.f;
    for (int p = lane; p < a.P; p += 32) {
      const float e = raw_filter(map, a, at, p).e;
      F[p] = e;
      sum += e;
    }
    if (map.normalisation == Normalisation::none) continue;
    sum = warp_sum(sum);
    if (map.normalisation == Normalisation::total) {
      if (lane == 0) sums[item] = sum;
      continue;
    }
    const float scale = scale_of(map, a, sum).scale;
    for (int p = lane; p < a.P; p += 32) F[p] *= scale;
  }
  group.sync();
  if (map.normalisation != Normalisation::total) return;
  for (int item = group.warp(); item < 2 * N; item += group.warps()) {
    const Axis a = chosen(item < N, y, x);
    const int k = item < N ? item : item - N;
    float* F = (item < N ? F_y : F_x) + k * a.P;
    float sum = 0.f;
    for (int other = 0; other < N; other++) sum += sums[(item < N ? 0 : N) + other];
    for (int p = lane; p < a.P; p += 32) F[p] *= 1.f / sum;
  }
  group.sync();
}

// Sums over a filter's pixels that its derivatives need; all lanes have them.
struct FilterSums {
  float sum = 0, lever = 0, exponent = 0;
};

__device__ inline FilterSums filter_sums(const Convention& map, const Axis& a, const Place& at,
                                         int lane) {
  FilterSums s;
  for (int p = lane; p < a.P; p += 32) {
    const Raw raw = raw_filter(map, a, at, p);
    s.sum += raw.e;
    s.lever += raw.e * (static_cast<float>(p) - at.origin + at.shift);
    s.exponent += raw.e * raw.u;
  }
  return {warp_sum(s.sum), warp_sum(s.lever), warp_sum(s.exponent)};
}

// The means under a normalised filter that its derivatives subtract.
struct FilterMeans {
  float scale, lever, exponent, stride;
};

__device__ inline FilterMeans filter_means(const Convention& map, const Axis& a, const Place& at,
                                           const FilterSums& s) {
  const Scale n = scale_of(map, a, s.sum);
  // Lever and exponent count from the origin; from mu they are further by d and by d^2 h.
  const float d = at.origin - at.mu;
  return {n.scale, s.lever * n.scale * n.coupling - d * n.slack,
          s.exponent * n.scale * n.coupling - d * d * a.h * n.slack, 0.f};
}

// The same for `total`, where one sum normalises all filters of the axis.
__device__ inline FilterMeans total_means(const Convention& map, const Axis& a,
                                          const FilterSums* sums) {
  float sum = 0.f, lever = 0.f, exponent = 0.f, stride = 0.f;
  for (int k = 0; k < a.N; k++) {
    const float grid = static_cast<float>(k) - 0.5f * static_cast<float>(a.N - 1);
    sum += sums[k].sum;
    lever += sums[k].lever;
    exponent += sums[k].exponent;
    stride += grid * sums[k].lever + place_of(map, a, k).lead * sums[k].sum;
  }
  return {1.f / sum, lever / sum, exponent / sum, stride / sum};
}

struct AxisGradient {
  float centre = 0, delta = 0, log_sigma2 = 0;
  float along = 0;  // sum of dF * F: what a factor of the filters gets
};

// One filter's part; every lane has it.
__device__ inline AxisGradient filter_gradient(const Convention& map, const Axis& a,
                                               const Place& at, const FilterMeans& mean, int k,
                                               const float* dF, int lane) {
  const float grid = static_cast<float>(k) - 0.5f * static_cast<float>(a.N - 1);
  AxisGradient d;
  float stride = 0.f;
  for (int p = lane; p < a.P; p += 32) {
    const Raw raw = raw_filter(map, a, at, p);
    const float GF = dF[p] * raw.e * mean.scale;
    const float lever = static_cast<float>(p) - at.origin + at.shift;
    d.along += GF;
    d.centre += GF * (lever - mean.lever);
    d.log_sigma2 += GF * (raw.u - mean.exponent);
    stride += GF * (grid * lever + (at.lead - mean.stride));
  }
  d.along = warp_sum(d.along);
  d.centre = 2.f * a.h * warp_sum(d.centre);
  d.log_sigma2 = warp_sum(d.log_sigma2);
  // With `total` every filter depends on the places of all the others.
  d.delta =
      map.normalisation == Normalisation::total ? 2.f * a.h * warp_sum(stride) : grid * d.centre;
  return d;
}

// Floats of shared memory that gradients of filters use.
__host__ __device__ inline int filter_scratch(int N, int warps) { return 6 * N + 5 * warps; }

// What dF_y [N, H] and dF_x [N, W] say of the window; the thread of rank 0 has it. Starts behind a
// barrier; the next use of `scratch` stands behind another. `scratch` is filter_scratch() floats.
template <class Group>
__device__ WindowGradient filters_backward(const Group& group, const Convention& map, const Axis& y,
                                           const Axis& x, const float* dF_y, const float* dF_x,
                                           float* scratch) {
  const int N = y.N, lane = group.lane();
  FilterSums* sums = reinterpret_cast<FilterSums*>(scratch);  // [2N]
  float* parts = scratch + 6 * N;                             // [warps, 5]
  const bool total = map.normalisation == Normalisation::total;
  if (total) {
    for (int item = group.warp(); item < 2 * N; item += group.warps()) {
      const Axis a = chosen(item < N, y, x);
      const FilterSums s = filter_sums(map, a, place_of(map, a, item < N ? item : item - N), lane);
      if (lane == 0) sums[item] = s;
    }
    group.sync();
  }
  WindowGradient d;
  for (int item = group.warp(); item < 2 * N; item += group.warps()) {
    const bool vertical = item < N;
    const Axis a = chosen(vertical, y, x);
    const int k = vertical ? item : item - N;
    const Place at = place_of(map, a, k);
    const FilterMeans mean = total ? total_means(map, a, sums + (vertical ? 0 : N))
                                   : filter_means(map, a, at, filter_sums(map, a, at, lane));
    const AxisGradient one =
        filter_gradient(map, a, at, mean, k, (vertical ? dF_y : dF_x) + k * a.P, lane);
    d.y += vertical ? one.centre : 0.f;
    d.x += vertical ? 0.f : one.centre;
    d.delta += one.delta;
    d.log_sigma2 += one.log_sigma2;
    if (!vertical) d.log_intensity += one.along;
  }
  float* mine = parts + 5 * group.warp();
  if (lane == 0) {
    mine[0] = d.y, mine[1] = d.x, mine[2] = d.delta, mine[3] = d.log_sigma2;
    mine[4] = d.log_intensity;
  }
  group.sync();
  WindowGradient all;
  if (group.rank() == 0) {
    for (int warp = 0; warp < group.warps(); warp++) {
      const float* part = parts + 5 * warp;
      all.y += part[0], all.x += part[1], all.delta += part[2], all.log_sigma2 += part[3];
      all.log_intensity += part[4];
    }
  }
  return all;
}

}  // namespace drawgan::cuda
