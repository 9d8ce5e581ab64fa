// Matrix products of a tile of 16 rows with weights that stay in shared memory: operands in the
// order in which lanes take them, so that a lane's part of a block is one wide load without bank
// conflicts.
//
// A block of the left operand is [16 rows, 16 k], one of the right [16 k, 8 columns]; kElements of
// each stand one after another. Whatever the type, a lane holds the sums of an mma: rows g and g +
// 8, columns 2q and 2q + 1, with g = lane / 4 and q = lane % 4.
#pragma once

#include "platform.h"

namespace drawgan::cuda {

constexpr int kTile = 16;             // rows of a tile, and k of a block
constexpr int kColumns = 8;           // of a block of the right operand
constexpr int kLeft = kTile * kTile;  // elements of a block of the left operand
constexpr int kRight = kTile * kColumns;

template <class E>
struct Fragments;

template <>
struct Fragments<bf16> {  // tensor cores: mma.m16n8k16
  // Where element (row, k) of a left block is, and (k, column) of a right one.
  __host__ __device__ static int left(int row, int k) {
    return ((row & 7) * 4 + (k & 7) / 2) * 8 + ((row >> 3) + 2 * (k >> 3)) * 2 + (k & 1);
  }
  __host__ __device__ static int right(int k, int column) {
    return (column * 4 + (k & 7) / 2) * 4 + (k >> 3) * 2 + (k & 1);
  }

  // Adds one block of k to the sums of NT right operands, which stand `stride` elements apart.
  template <int NT>
  __device__ static void multiply(float (&sums)[NT][4], const bf16* left, const bf16* right,
                                  int stride, int lane) {
    const uint4 rows = *reinterpret_cast<const uint4*>(left + lane * 8);
    const uint32_t a[4] = {rows.x, rows.y, rows.z, rows.w};
#pragma unroll
    for (int n = 0; n < NT; n++) {
      const uint2 columns = *reinterpret_cast<const uint2*>(right + n * stride + lane * 4);
      const uint32_t b[2] = {columns.x, columns.y};
      mma_bf16(sums[n], a, b);
    }
  }
};

template <>
struct Fragments<float> {  // multiply-add units: float32 all through
  // Four k's of a row are one access; rows are rotated so that eight of them meet in no bank.
  __host__ __device__ static int left(int row, int k) {
    return row * 16 + (((k >> 2) ^ (row >> 1)) & 3) * 4 + (k & 3);
  }
  __host__ __device__ static int right(int k, int column) {
    return (k >> 2) * 32 + column * 4 + (k & 3);
  }

  __device__ static float dot(float sum, const float4& a, const float4& b) {
    return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum))));
  }

  template <int NT>
  __device__ static void multiply(float (&sums)[NT][4], const float* left, const float* right,
                                  int stride, int lane) {
    const int g = lane >> 2;
#pragma unroll 2  // all four would want more registers than there are
    for (int c = 0; c < 4; c++) {
      const float* row = left + g * 16 + ((c ^ (g >> 1)) & 3) * 4;
      const float4 low = *reinterpret_cast<const float4*>(row);
      const float4 high = *reinterpret_cast<const float4*>(row + 8 * 16);
#pragma unroll
      for (int n = 0; n < NT; n++) {
        const float* column = right + n * stride + c * 32 + (lane & 3) * 8;
        const float4 even = *reinterpret_cast<const float4*>(column);
        const float4 odd = *reinterpret_cast<const float4*>(column + 4);
        sums[n][0] = dot(sums[n][0], low, even);
        sums[n][1] = dot(sums[n][1], low, odd);
        sums[n][2] = dot(sums[n][2], high, even);
        sums[n][3] = dot(sums[n][3], high, odd);
      }
    }
  }
};

// The left operand: up to three runs of blocks one after another, each [tiles, blocks].
template <class E>
struct Operand {
  const E* run[3];
  int blocks[3];
  __device__ int count() const { return blocks[0] + blocks[1] + blocks[2]; }
  __device__ const E* block(int tile, int k) const {  // by selection: an index would need memory
    const bool beyond = k >= blocks[0], last = k >= blocks[0] + blocks[1];
    const E* from = last ? run[2] : beyond ? run[1] : run[0];
    const int each = last ? blocks[2] : beyond ? blocks[1] : blocks[0];
    return from + (tile * each + k - (beyond ? blocks[0] : 0) - (last ? blocks[1] : 0)) * kLeft;
  }
};

// Sums over blocks [first, last) of NT right operands, which stand `stride` elements apart.
template <int NT, class E>
__device__ void multiply_blocks(float (&sums)[NT][4], const Operand<E>& left, int tile,
                                const E* right, int stride, int first, int last, int lane) {
  [[maybe_unused]] constexpr int kAtOnce = sizeof(E) == 2 ? 2 : 1;
#pragma unroll(kAtOnce)
  for (int k = first; k < last; k++)
    Fragments<E>::multiply(sums, left.block(tile, k), right + k * kRight, stride, lane);
}

// Floats of shared memory that product() uses.
__host__ __device__ inline int product_scratch(int threads, int most) { return threads * 4 * most; }

// All products of a phase: `groups` of NT right operands [groups, NT, k blocks] with `tiles` of the
// left. `epilogue(tile, group, row, column, values[NT])` is called once for each row and column of
// a block, all values of a row, column and group by one thread.
//
// A warp takes a (tile, group); where there are more warps than those, several share one and add up
// what each found, always in the same order. Holds barriers of the block; starts behind one, and
// the caller places the next.
template <int NT, class E, class Epilogue>
__device__ void product(const Operand<E>& left, const E* right, int groups, int tiles,
                        float* scratch, const Epilogue& epilogue) {
  const int lane = static_cast<int>(threadIdx.x) & 31, warp = static_cast<int>(threadIdx.x) >> 5;
  const int warps = static_cast<int>(blockDim.x) >> 5, jobs = groups * tiles;
  const int count = left.count(), row = lane >> 2, column = (lane & 3) * 2;
  int parts = 1;
  while (parts < 8 && 2 * parts * jobs <= warps) parts *= 2;
  if (parts == 1) {
    for (int job = warp; job < jobs; job += warps) {
      const int group = job / tiles, tile = job - group * tiles;
      float sums[NT][4] = {};
      multiply_blocks(sums, left, tile, right + group * NT * count * kRight, count * kRight, 0,
                      count, lane);
#pragma unroll
      for (int e = 0; e < 4; e++) {
        float values[NT];
#pragma unroll
        for (int n = 0; n < NT; n++) values[n] = sums[n][e];
        epilogue(tile, group, row + 8 * (e >> 1), column + (e & 1), values);
      }
    }
    return;
  }
  const int job = warp / parts, part = warp - job * parts, group = job / tiles;
  const int tile = job - group * tiles;
  if (job < jobs) {
    float sums[NT][4] = {};
    multiply_blocks(sums, left, tile, right + group * NT * count * kRight, count * kRight,
                    count * part / parts, count * (part + 1) / parts, lane);
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) scratch[((warp * NT + n) * 4 + e) * 32 + lane] = sums[n][e];
  }
  __syncthreads();
  if (job >= jobs) return;
  for (int e = part; e < 4; e += parts) {
    float values[NT];
#pragma unroll
    for (int n = 0; n < NT; n++) {
      values[n] = 0.f;
      for (int p = 0; p < parts; p++)
        values[n] += scratch[(((job * parts + p) * NT + n) * 4 + e) * 32 + lane];
    }
    epilogue(tile, group, row + 8 * (e >> 1), column + (e & 1), values);
  }
}

// Where up to 16 neighbouring k of a column come from; beyond `count` they are 0.
template <class E>
struct Run {
  const E* from;
  int64_t step;
  int count;
};

// Weights in the order of operands: `operands` right operands of `count` blocks each, a column of a
// block from source(operand, block, column). A warp has four blocks in flight: the loads are far.
template <class E, class Source>
__device__ void load_weights(E* to, int operands, int count, const Source& source) {
  constexpr int kFlight = 4, kEach = kRight / 32;
  const int lane = static_cast<int>(threadIdx.x) & 31, warp = static_cast<int>(threadIdx.x) >> 5;
  const int warps = static_cast<int>(blockDim.x) >> 5, all = operands * count;
  const int column = lane >> 2, first_k = (lane & 3) * kEach;
  for (int base = warp; base < all; base += kFlight * warps) {
    E values[kFlight][kEach] = {};
#pragma unroll
    for (int i = 0; i < kFlight; i++) {
      const int block = base + i * warps;
      if (block >= all) continue;
      const Run<E> run = source(block / count, block % count, column);
#pragma unroll
      for (int n = 0; n < kEach; n++)
        if (first_k + n < run.count) values[i][n] = run.from[(first_k + n) * run.step];
    }
#pragma unroll
    for (int i = 0; i < kFlight; i++) {
      const int block = base + i * warps;
      if (block >= all) continue;
#pragma unroll
      for (int n = 0; n < kEach; n++)
        to[block * kRight + Fragments<E>::right(first_k + n, column)] = values[i][n];
    }
  }
}

}  // namespace drawgan::cuda
