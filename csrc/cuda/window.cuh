// The attention window on the device: five raw numbers -> centre, stride, variance, intensity, and
// the way back. Symbols and derivation: docs/filterbank.md.
#pragma once

#include "../window_map.h"
#include "math.cuh"
#include "platform.h"

namespace drawgan::cuda {

// A convention (WindowMap) as kernels take it: in float.
struct Convention {
  int x, y, sigma, delta, gamma;  // positions in the five numbers
  float extent_x, extent_y, origin, to_middle, delta_scale, sigma_scale, sigma_bias;
  float log_sigma2_low, log_sigma2_high, max_centre, max_log_delta, max_log_gamma, eps;
  float intensity_sign, gamma_power;
  Normalisation normalisation;
  bool centre_tanh, gamma_sigmoid, swap_centres, transposed;
};

inline Convention convention(const WindowMap& map) {
  const auto f = [](double number) { return static_cast<float>(number); };
  return {
      .x = map.x,
      .y = map.y,
      .sigma = map.sigma,
      .delta = map.delta,
      .gamma = map.gamma,
      .extent_x = f(map.extent_x),
      .extent_y = f(map.extent_y),
      .origin = f(map.origin),
      .to_middle = f(map.to_middle),
      .delta_scale = f(map.delta_scale),
      .sigma_scale = f(map.sigma_scale),
      .sigma_bias = f(map.sigma_bias),
      .log_sigma2_low = f(map.log_sigma2_low),
      .log_sigma2_high = f(map.log_sigma2_high),
      .max_centre = f(map.max_centre),
      .max_log_delta = f(map.max_log_delta),
      .max_log_gamma = f(map.max_log_gamma),
      .eps = f(map.eps),
      .intensity_sign = f(map.intensity_sign),
      .gamma_power = static_cast<float>(map.gamma_power),
      .normalisation = map.normalisation,
      .centre_tanh = map.centre_tanh,
      .gamma_sigmoid = map.gamma_sigmoid,
      .swap_centres = map.swap_centres,
      .transposed = map.transposed,
  };
}

struct Window {
  float y, x;       // middle of the grid, pixels from 0
  float delta;      // stride
  float h;          // 1 / (2 sigma^2)
  float intensity;  // gamma on a read, gamma or its inverse on a write
};

struct WindowGradient {  // of a loss, with respect to
  float y = 0, x = 0;    // the middle
  float delta = 0;       // the stride, through the grid points
  float log_sigma2 = 0;
  float log_intensity = 0;
};

__device__ inline float clamped(float a, float low, float high) {
  return fminf(fmaxf(a, low), high);
}

__device__ inline bool inside(float a, float low, float high) { return a >= low && a <= high; }

// power * log gamma before it saturates
__device__ inline float log_gamma_of(const Convention& map, float number) {
  float g = clamped(number, -map.max_log_gamma, map.max_log_gamma);
  if (map.gamma_sigmoid) g = fminf(g, 0.f) - log1pf(expf(-fabsf(g)));  // log sigmoid
  return map.gamma_power * g;
}

__device__ inline float centre_of(const Convention& map, float number, float extent) {
  if (map.centre_tanh) return extent * sigmoid(2.f * number);  // (tanh g + 1) / 2
  return extent * 0.5f * (clamped(number, -map.max_centre, map.max_centre) + 1.f);
}

__device__ inline float centre_slope(const Convention& map, float number, float extent) {
  if (map.centre_tanh) {
    const float s = sigmoid(2.f * number);
    return extent * 2.f * s * (1.f - s);
  }
  return inside(number, -map.max_centre, map.max_centre) ? extent * 0.5f : 0.f;
}

// The window of five numbers.
template <class T>
__device__ Window window_of(const Convention& map, const T* params) {
  const float log_sigma2 = clamped(map.sigma_scale * to_float(params[map.sigma]) + map.sigma_bias,
                                   map.log_sigma2_low, map.log_sigma2_high);
  const float log_gamma = clamped(log_gamma_of(map, to_float(params[map.gamma])),
                                  -map.max_log_gamma, map.max_log_gamma);
  Window w;
  w.delta = map.delta_scale * expf(fminf(to_float(params[map.delta]), map.max_log_delta));
  const float shift = map.origin + map.to_middle * w.delta;
  const float x = centre_of(map, to_float(params[map.x]), map.extent_x) + shift;
  const float y = centre_of(map, to_float(params[map.y]), map.extent_y) + shift;
  w.y = map.swap_centres ? x : y;
  w.x = map.swap_centres ? y : x;
  w.h = 0.5f * expf(-log_sigma2);
  w.intensity = expf(map.intensity_sign * log_gamma);
  return w;
}

// From gradients of a window to those of its five numbers.
template <class T>
__device__ void window_backward(const Convention& map, const T* params, float delta,
                                WindowGradient d, float* d_params) {
  d.delta += map.to_middle * (d.x + d.y);
  const float d_x = map.swap_centres ? d.y : d.x, d_y = map.swap_centres ? d.x : d.y;
  const float x = to_float(params[map.x]), y = to_float(params[map.y]);
  d_params[map.x] = d_x * centre_slope(map, x, map.extent_x);
  d_params[map.y] = d_y * centre_slope(map, y, map.extent_y);

  const float log_sigma2 = map.sigma_scale * to_float(params[map.sigma]) + map.sigma_bias;
  const bool sigma_free = inside(log_sigma2, map.log_sigma2_low, map.log_sigma2_high);
  d_params[map.sigma] = sigma_free ? map.sigma_scale * d.log_sigma2 : 0.f;
  const bool delta_free = to_float(params[map.delta]) <= map.max_log_delta;
  d_params[map.delta] = delta_free ? d.delta * delta : 0.f;

  const float number = to_float(params[map.gamma]), power = log_gamma_of(map, number);
  float d_gamma = map.intensity_sign * map.gamma_power * d.log_intensity;
  if (map.gamma_sigmoid) d_gamma *= sigmoid(-number);
  const bool gamma_free = inside(number, -map.max_log_gamma, map.max_log_gamma) &&
                          inside(power, -map.max_log_gamma, map.max_log_gamma);
  d_params[map.gamma] = gamma_free ? d_gamma : 0.f;
}

}  // namespace drawgan::cuda
