// The LSTM cell of one unit, gate order i, f, g, o, and its gradient.
#pragma once

#include "math.cuh"

namespace drawgan::cuda {

struct LstmGates {
  float i, f, g, o;
};

__device__ inline LstmGates lstm_gates(float i, float f, float g, float o) {
  return {sigmoid(i), sigmoid(f), tanh_(g), sigmoid(o)};
}

// The output; `c` becomes the state after the cell.
__device__ inline float lstm_output(const LstmGates& gates, float& c) {
  c = gates.f * c + gates.i * gates.g;
  return gates.o * tanh_(c);
}

// Gradients of the four sums; `d_c` of the state after the cell becomes that of the state before
// it.
__device__ inline LstmGates lstm_backward(const LstmGates& gates, float c_before, float c_after,
                                          float d_h, float& d_c) {
  const float t = tanh_(c_after);
  const float d = d_c + d_h * gates.o * (1.f - t * t);
  d_c = d * gates.f;
  return {d * gates.g * gates.i * (1.f - gates.i), d * c_before * gates.f * (1.f - gates.f),
          d * gates.i * (1.f - gates.g * gates.g), d_h * t * gates.o * (1.f - gates.o)};
}

}  // namespace drawgan::cuda
