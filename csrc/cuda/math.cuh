// Activations as every kernel of the CUDA core computes them, in float.
#pragma once

#include "platform.h"

namespace drawgan {

// Neither overflows: exp may become infinite, and the quotient 0.
__device__ inline float sigmoid(float x) { return __fdividef(1.0f, 1.0f + __expf(-x)); }

// 2 sigmoid(2x) - 1 away from 0; a series near it, where that would cancel.
__device__ inline float tanh_(float x) {
  const float s = x * x;
  float near =
      2.0f / 15.0f - s * (17.0f / 315.0f - s * (62.0f / 2835.0f - s * (1382.0f / 155925.0f)));
  near = x * (1.0f - s * (1.0f / 3.0f - s * near));
  const float far = 2.0f * sigmoid(2.0f * x) - 1.0f;
  return fabsf(x) < 0.3f ? near : far;
}

}  // namespace drawgan
