// CUDA C++ as plain C++: the spellings that kernels use beyond csrc/cuda/platform.h, over the
// scheduler. For tests of correctness only.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "scheduler.h"
#include "vector_types.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define __grid_constant__
#define __align__(n) alignas(n)
// __shared__ and __constant__ are missing on purpose: see platform.h.

#define threadIdx (::drawgan::emulation::here->thread)
#define blockIdx (::drawgan::emulation::here->block)
#define blockDim (::drawgan::emulation::here->block_dim)
#define gridDim (::drawgan::emulation::here->grid_dim)
constexpr int warpSize = 32;

using cudaStream_t = void*;

using std::max;
using std::min;

// --------------------------------------------------------------------------------- barriers and
// votes

inline void __syncthreads() { drawgan::emulation::block_barrier(); }
inline int __syncthreads_count(int vote) {
  return static_cast<int>(drawgan::emulation::block_barrier_count(vote != 0));
}
inline int __syncthreads_or(int vote) { return __syncthreads_count(vote) != 0; }
inline int __syncthreads_and(int vote) { return __syncthreads_count(!vote) == 0; }
inline void __syncwarp(unsigned mask = ~0u) { drawgan::emulation::warp_barrier(mask); }
inline unsigned __ballot_sync(unsigned mask, int vote) {
  return drawgan::emulation::warp_ballot(mask, vote != 0);
}
inline int __any_sync(unsigned mask, int vote) { return __ballot_sync(mask, vote) != 0; }
inline int __all_sync(unsigned mask, int vote) { return __ballot_sync(mask, !vote) == 0; }

// -------------------------------------------------------------------------------------------
// shuffles

namespace drawgan::emulation {

inline int lane() {
  const Place& p = *here;
  return static_cast<int>((p.thread.x + p.block_dim.x * (p.thread.y + p.block_dim.y * p.thread.z)) %
                          32);
}

// `source` is a lane of the same `width` lanes, or the lane itself where there is none.
template <class T>
T shuffle(unsigned mask, T value, int source, int width) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  const int own = lane(), first = own & ~(width - 1);
  if (source < first || source >= first + width) source = own;
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = warp_shuffle(mask, bits, static_cast<unsigned>(source));
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace drawgan::emulation

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const int first = drawgan::emulation::lane() & ~(width - 1);
  return drawgan::emulation::shuffle(mask, value, first | (source & (width - 1)), width);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
  return drawgan::emulation::shuffle(mask, value, drawgan::emulation::lane() ^ bits, width);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const int source = drawgan::emulation::lane() + static_cast<int>(delta);
  return drawgan::emulation::shuffle(mask, value, source, width);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const int source = drawgan::emulation::lane() - static_cast<int>(delta);
  return drawgan::emulation::shuffle(mask, value, source, width);
}

// --------------------------------------------------------------------------------------------
// numbers

inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
template <class T>
T __ldg(const T* address) {
  return *address;
}

// Relaxed, as on a GPU: an atomic orders nothing but itself.
template <class T>
T atomicAdd(T* address, T value) {
  if constexpr (std::is_integral_v<T>) {
    return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
  } else {
    T before, after;
    __atomic_load(address, &before, __ATOMIC_RELAXED);
    do {
      after = before + value;
    } while (!__atomic_compare_exchange(address, &before, &after, false, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED));
    return before;
  }
}

namespace drawgan::emulation {

inline std::uint16_t float_to_bfloat16(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fffu;  // the GPU's NaN
  return static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

inline std::uint16_t float_to_half(float x) { return std::bit_cast<std::uint16_t>(_Float16(x)); }
inline float half_to_float(std::uint16_t bits) {
  return static_cast<float>(std::bit_cast<_Float16>(bits));
}

}  // namespace drawgan::emulation
