// What reads and writes of one channel of one sample are made of. Small matrices are in shared
// memory, a filter or filter-like matrix [N, P] with pixels contiguous, and a group of threads
// works on each together. None of these starts or ends in a barrier: the callers place them.
#pragma once

#include "filters.cuh"
#include "vectors.cuh"

namespace drawgan::cuda {

// out[j, p] (+)= sum_i A[i, j] F[i, p], or A[j, i] if TRANSPOSED.
template <bool TRANSPOSED, bool ADDS, class Group>
__device__ void mix(const Group& group, const float* A, const float* F, int N, int P, float* out) {
  for (int item = group.rank(); item < N * P; item += group.size()) {
    const int j = item / P, p = item - j * P;
    float sum = ADDS ? out[item] : 0.f;
    for (int i = 0; i < N; i++) sum += (TRANSPOSED ? A[j * N + i] : A[i * N + j]) * F[i * P + p];
    out[item] = sum;
  }
}

// value(m, i, j) = sum_w V[m][i, w] F[j, w]: eight lanes take one of them together.
template <int IMAGES, class Group, class Sink>
__device__ void inner(const Group& group, const float* const (&V)[IMAGES], const float* F, int N,
                      int W, const Sink& sink) {
  const int part = group.lane() & 7, each = N * N, all = IMAGES * each;
  for (int first = group.warp() * 4; first < all; first += group.warps() * 4) {
    const int item = first + (group.lane() >> 3);
    const int m = item / each, i = (item - m * each) / N, j = item - m * each - i * N;
    float sum = 0.f;
    if (item < all)
      for (int w = part; w < W; w += 8) sum += V[m][i * W + w] * F[j * W + w];
    sum = lanes_sum<7>(sum);
    if (item < all && part == 0) sink(m, i, j, sum);
  }
}

// value(h, w, m) = sum_j Y[m][j, h] F[j, w], VEC pixels of a row at a time.
template <int VEC, int IMAGES, class Group, class Sink>
__device__ void outer(const Group& group, const float* const (&Y)[IMAGES], const float* F, int N,
                      int H, int W, const Sink& sink) {
  const int columns = W / VEC;
  for (int item = group.rank(); item < H * columns; item += group.size()) {
    const int h = item / columns, w = (item - h * columns) * VEC;
    float values[IMAGES][VEC] = {};
    for (int j = 0; j < N; j++) {
#pragma unroll
      for (int m = 0; m < IMAGES; m++) {
        const float y = Y[m][j * H + h];
#pragma unroll
        for (int v = 0; v < VEC; v++) values[m][v] += y * F[j * W + w + v];
      }
    }
    sink(h, w, values);
  }
}

constexpr int kChunk = 4;  // filters that share one pass over the pixels

// sums[m][i, w] = sum_h coefficient[m][i, h] pixel_m(h, w); SUMMED: those of all images, added to
// sums[0]. A warp takes 4 * VEC columns, its lanes 8 rows at a time.
template <int VEC, bool SUMMED, int IMAGES, class Group, class Source>
__device__ void column_sums(const Group& group, const Source& source,
                            const float* const (&coefficient)[IMAGES], int N, int H, int W,
                            float* const (&sums)[IMAGES]) {
  constexpr int OUT = SUMMED ? 1 : IMAGES;
  const int lane = group.lane(), row = lane >> 2;
  const int blocks = (W + 4 * VEC - 1) / (4 * VEC), chunks = (N + kChunk - 1) / kChunk;
  for (int item = group.warp(); item < blocks * chunks; item += group.warps()) {
    const int chunk = item / blocks;
    const int w = (item - chunk * blocks) * 4 * VEC + (lane & 3) * VEC, first = chunk * kChunk;
    float acc[OUT][kChunk][VEC] = {};
    if (w < W) {
      for (int h = row; h < H; h += 8) {
        float pixels[IMAGES][VEC];
        source.get(h, w, pixels);
#pragma unroll
        for (int m = 0; m < IMAGES; m++) {
#pragma unroll
          for (int i = 0; i < kChunk; i++) {  // beyond N: computed, not kept
            const float c = coefficient[m][min(first + i, N - 1) * H + h];
#pragma unroll
            for (int v = 0; v < VEC; v++) acc[SUMMED ? 0 : m][i][v] += c * pixels[m][v];
          }
        }
      }
    }
#pragma unroll
    for (int m = 0; m < OUT; m++) {
#pragma unroll
      for (int i = 0; i < kChunk; i++) {
#pragma unroll
        for (int v = 0; v < VEC; v++) {
          const float sum = lanes_sum<28>(acc[m][i][v]);
          if (row != i || first + i >= N || w >= W) continue;
          float& out = sums[m][(first + i) * W + w + v];
          out = SUMMED ? out + sum : sum;
        }
      }
    }
  }
}

// sums[i, h] += sum over images and w of coefficient[m][i, w] pixel_m(h, w). A warp takes 4 rows,
// its lanes 8 * VEC columns at a time.
template <int VEC, int IMAGES, class Group, class Source>
__device__ void row_sums(const Group& group, const Source& source,
                         const float* const (&coefficient)[IMAGES], int N, int H, int W,
                         float* sums) {
  const int lane = group.lane(), column = lane & 7;
  const int blocks = (H + 3) / 4, chunks = (N + kChunk - 1) / kChunk;
  for (int item = group.warp(); item < blocks * chunks; item += group.warps()) {
    const int chunk = item / blocks;
    const int h = (item - chunk * blocks) * 4 + (lane >> 3), first = chunk * kChunk;
    float acc[kChunk] = {};
    if (h < H) {
      for (int w = column * VEC; w < W; w += 8 * VEC) {
        float pixels[IMAGES][VEC];
        source.get(h, w, pixels);
#pragma unroll
        for (int m = 0; m < IMAGES; m++) {
#pragma unroll
          for (int i = 0; i < kChunk; i++) {  // beyond N: computed, not kept
            const float* c = coefficient[m] + min(first + i, N - 1) * W + w;
#pragma unroll
            for (int v = 0; v < VEC; v++) acc[i] += c[v] * pixels[m][v];
          }
        }
      }
    }
#pragma unroll
    for (int i = 0; i < kChunk; i++) {
      const float sum = lanes_sum<7>(acc[i]);
      if (column == i && first + i < N && h < H) sums[(first + i) * H + h] += sum;
    }
  }
}

// A patch [N, N] into shared memory, row i of filter F_y, column j of F_x.
template <class Group, class T>
__device__ void load_patch(const Group& group, const T* patch, int N, bool transposed, float factor,
                           float* out) {
  for (int item = group.rank(); item < N * N; item += group.size()) {
    const int i = item / N, j = item - i * N;
    out[item] = factor * to_float(patch[transposed ? j * N + i : item]);
  }
}

template <class Group>
__device__ void set_zero(const Group& group, float* out, int count) {
  for (int item = group.rank(); item < count; item += group.size()) out[item] = 0.f;
}

// --------------------------------------------------------------------------------------- sources

// Pixels of one image, in float.
template <int VEC, class T>
struct OneImage {
  const T* image;
  int W;
  __device__ void get(int h, int w, float (&pixels)[1][VEC]) const {
    load(image + h * W + w, pixels[0]);
  }
};

// Pixels of two images.
template <int VEC, class T>
struct TwoImages {
  const T *image, *other;
  int W;
  __device__ void get(int h, int w, float (&pixels)[2][VEC]) const {
    load(image + h * W + w, pixels[0]);
    load(other + h * W + w, pixels[1]);
  }
};

// Pixels of an image, and of the error image: image - sigmoid(canvas).
template <int VEC, class T, class CanvasT>
struct ImageAndError {
  const T* image;
  const CanvasT* canvas;
  int W;
  __device__ void get(int h, int w, float (&pixels)[2][VEC]) const {
    load(image + h * W + w, pixels[0]);
    load(canvas + h * W + w, pixels[1]);
#pragma unroll
    for (int v = 0; v < VEC; v++) pixels[1][v] = pixels[0][v] - sigmoid(pixels[1][v]);
  }
};

}  // namespace drawgan::cuda
