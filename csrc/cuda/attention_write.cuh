// Write of one sample: canvas + intensity * F_y^T w F_x, and its gradient.
#pragma once

#include "attention_read.cuh"

namespace drawgan::cuda {

// Shared memory of a write, in floats.
struct WriteScratch {
  int H, W, N, warps;
  __host__ __device__ int filters() const { return N * (H + W); }
  __host__ __device__ int forward() const { return filters() + N * N + N * H + 2 * N; }
  __host__ __device__ int backward() const {
    return 2 * filters() + N * N + 2 * N * W + filter_scratch(N, warps);
  }
};

// One channel; `sink(h, w, added[1][VEC])` takes what is added to the canvas. `scratch`: N * N + N
// * H floats. Starts behind a barrier that separates earlier uses of them.
template <int VEC, class Group, class T, class Sink>
__device__ void write_channel(const Group& group, const SampleWindow& window, bool transposed,
                              const T* patch, float* scratch, const Sink& sink) {
  const int N = window.y.N, H = window.y.P, W = window.x.P;
  float *A = scratch, *Y = scratch + N * N;
  load_patch(group, patch, N, transposed, window.intensity, A);
  group.sync();
  mix<false, false>(group, A, window.F_y, N, H, Y);
  group.sync();
  const float* const rows[1] = {Y};
  outer<VEC>(group, rows, window.F_x, N, H, W, sink);
}

// Gradients of one channel, d(canvas) as the source. dF_y and dF_x are added to; `sink(i, j, d)`
// takes dL/d(patch). `scratch`: N * N + 2 * N * W floats. Starts behind a barrier.
template <int VEC, class Group, class T, class Source, class Sink>
__device__ void write_channel_backward(const Group& group, const SampleWindow& window,
                                       bool transposed, const T* patch, const Source& d_canvas,
                                       float* dF_y, float* dF_x, float* scratch, const Sink& sink) {
  const int N = window.y.N, H = window.y.P, W = window.x.P;
  float *A = scratch, *Z = A + N * N, *V = Z + N * W;
  load_patch(group, patch, N, transposed, window.intensity, A);
  const float* const F_y[1] = {window.F_y};
  float* const of_V[1] = {V};
  column_sums<VEC, false>(group, d_canvas, F_y, N, H, W, of_V);
  group.sync();
  mix<true, false>(group, A, window.F_x, N, W, Z);
  mix<false, true>(group, A, V, N, W, dF_x);
  const float* const made[1] = {V};
  inner(group, made, window.F_x, N, W,
        [&](int, int i, int j, float d) { sink(i, j, window.intensity * d); });
  group.sync();
  const float* const rows[1] = {Z};
  row_sums<VEC>(group, d_canvas, rows, N, H, W, dF_y);
}

}  // namespace drawgan::cuda
