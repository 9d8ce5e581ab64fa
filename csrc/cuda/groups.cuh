// Threads that work on one sample together: the whole block, or one warp of it.
#pragma once

#include "platform.h"

namespace drawgan::cuda {

struct BlockGroup {
  __device__ int rank() const { return static_cast<int>(threadIdx.x); }
  __device__ int size() const { return static_cast<int>(blockDim.x); }
  __device__ int lane() const { return rank() & 31; }
  __device__ int warp() const { return rank() >> 5; }
  __device__ int warps() const { return size() >> 5; }
  __device__ void sync() const { __syncthreads(); }
};

// The whole block, or each warp by itself: decided at run time, so that it takes one copy of the
// code.
struct BlockOrWarp {
  bool by_warps;
  __device__ int rank() const { return by_warps ? lane() : static_cast<int>(threadIdx.x); }
  __device__ int size() const { return by_warps ? 32 : static_cast<int>(blockDim.x); }
  __device__ int lane() const { return static_cast<int>(threadIdx.x) & 31; }
  __device__ int warp() const { return rank() >> 5; }
  __device__ int warps() const { return size() >> 5; }
  __device__ void sync() const {
    if (by_warps)
      __syncwarp();
    else
      __syncthreads();
  }
};

// The sum of all lanes' values; every lane gets the same bits.
__device__ inline float warp_sum(float value) {
  for (int distance = 16; distance > 0; distance >>= 1)
    value += __shfl_xor_sync(0xffffffffu, value, distance);
  return value;
}

// Sums over lanes that differ in the bits of `mask` only.
template <unsigned MASK>
__device__ float lanes_sum(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance >>= 1)
    if (MASK & static_cast<unsigned>(distance))
      value += __shfl_xor_sync(0xffffffffu, value, distance);
  return value;
}

}  // namespace drawgan::cuda
