// Activations as every kernel of the CUDA core computes them, in float.
#pragma once

#include "platform.h"

namespace drawgan {

// Neither overflows: exp may become infinite, and the quotient 0. Not __expf: what it saves is
// nothing beside the products, and its error grows with x and through every step of a recurrence.
__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// 2 sigmoid(2x) - 1 away from 0; a series near it, where that would cancel.
__device__ inline float tanh_(float x) {
  const float s = x * x;
  float near =
      2.0f / 15.0f - s * (17.0f / 315.0f - s * (62.0f / 2835.0f - s * (1382.0f / 155925.0f)));
  near = x * (1.0f - s * (1.0f / 3.0f - s * near));
  const float far = 2.0f * sigmoid(2.0f * x) - 1.0f;
  return fabsf(x) < 0.3f ? near : far;
}

// KL(N(mu, sigma^2) || N(0, 1)) = (mu^2 + e^u - 1 - u) / 2 with u = 2 log sigma; near the prior
// e^u - 1 - u is of the order of u^2: there its series, elsewhere the difference.
__device__ inline float kl_standard_normal(float mu, float log_sigma, float sigma) {
  const float u = 2.f * log_sigma;
  float p = fmaf(u, 1.f / 3628800.f, 1.f / 362880.f);
  p = fmaf(p, u, 1.f / 40320.f);
  p = fmaf(p, u, 1.f / 5040.f);
  p = fmaf(p, u, 1.f / 720.f);
  p = fmaf(p, u, 1.f / 120.f);
  p = fmaf(p, u, 1.f / 24.f);
  p = fmaf(p, u, 1.f / 6.f);
  p = fmaf(p, u, 0.5f);
  return 0.5f * (mu * mu + (fabsf(u) < 1.f ? p * u * u : fmaf(sigma, sigma, -1.f - u)));
}

}  // namespace drawgan
