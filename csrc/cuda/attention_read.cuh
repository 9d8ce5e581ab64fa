// Read of one sample: glimpse = intensity * F_y I F_x^T of one or two images through one window,
// and its gradient. The recurrence calls these with its canvas in shared memory.
#pragma once

#include "attention.cuh"
#include "operators.h"

namespace drawgan::cuda {

// Shared memory of a read, in floats.
struct ReadScratch {
  int H, W, N, images, warps;
  __host__ __device__ int filters() const { return N * (H + W); }
  __host__ __device__ int forward() const { return filters() + images * N * W + 2 * N; }
  __host__ __device__ int backward() const {
    return 2 * filters() + images * (N * N + N * (H + W)) + filter_scratch(N, warps);
  }
};

// The filters of a window, both axes one after another: F_y [N, H], F_x [N, W].
struct SampleWindow {
  Axis y, x;
  float intensity;
  float *F_y, *F_x;
};

template <class Group, class T>
__device__ SampleWindow sample_window(const Group& group, const Convention& map, const T* params,
                                      int H, int W, int N, float* F, float* sums) {
  const Window w = window_of(map, params);
  const SampleWindow window{
      {w.y, w.delta, w.h, H, N}, {w.x, w.delta, w.h, W, N}, w.intensity, F, F + N * H};
  make_filters(group, map, window.y, window.x, window.F_y, window.F_x, sums);
  return window;
}

// One channel; `V` is [IMAGES, N, W] of scratch, `sink(m, i, j, value)` takes the glimpses. Starts
// behind a barrier that separates earlier uses of V.
template <int VEC, int IMAGES, class Group, class Source, class Sink>
__device__ void read_channel(const Group& group, const SampleWindow& window, const Source& source,
                             float* V, const Sink& sink) {
  const int N = window.y.N, H = window.y.P, W = window.x.P;
  const float* F[IMAGES];
  float* sums[IMAGES];
  const float* made[IMAGES];
#pragma unroll
  for (int m = 0; m < IMAGES; m++) F[m] = window.F_y, made[m] = sums[m] = V + m * N * W;
  column_sums<VEC, false>(group, source, F, N, H, W, sums);
  group.sync();
  inner(group, made, window.F_x, N, W,
        [&](int m, int i, int j, float value) { sink(m, i, j, window.intensity * value); });
}

// Gradients of one channel. R[m] [N, N]: intensity * dL/d(glimpse m), already in shared memory and
// behind a barrier. dF_y and dF_x are added to; `sink(h, w, d[IMAGES][VEC])` takes dL/d(pixels).
// `scratch`: images * N * (H + W) floats.
template <int VEC, int IMAGES, class Group, class Source, class Sink>
__device__ void read_channel_backward(const Group& group, const SampleWindow& window,
                                      const Source& source, const float* R, float* dF_y,
                                      float* dF_x, float* scratch, const Sink& sink) {
  const int N = window.y.N, H = window.y.P, W = window.x.P;
  const float *Y[IMAGES], *Z[IMAGES];
  float* add_to[IMAGES];
#pragma unroll
  for (int m = 0; m < IMAGES; m++) {
    float *y = scratch + m * N * (H + W), *z = y + N * H;
    mix<false, false>(group, R + m * N * N, window.F_y, N, H, y);
    mix<true, false>(group, R + m * N * N, window.F_x, N, W, z);
    Y[m] = y, Z[m] = z, add_to[m] = dF_x;
  }
  group.sync();
  row_sums<VEC>(group, source, Z, N, H, W, dF_y);
  column_sums<VEC, true>(group, source, Y, N, H, W, add_to);
  outer<VEC>(group, Y, window.F_x, N, H, W, sink);
}

}  // namespace drawgan::cuda
