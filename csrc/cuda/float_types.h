// Storage types of 16 bits and their arithmetic type, float. Rounding is to the nearest, ties to
// even; NaN stays NaN.
#pragma once

#include <cstdint>

#if !defined(DRAWGAN_CUDA_EMULATION)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace drawgan {

struct bf16 {
  uint16_t bits;
};

struct fp16 {
  uint16_t bits;
};

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(bf16 x) {
  return __uint_as_float(static_cast<uint32_t>(x.bits) << 16);
}

#ifdef DRAWGAN_CUDA_EMULATION
__device__ inline float to_float(fp16 x) { return emulation::half_to_float(x.bits); }
__device__ inline uint16_t bf16_bits(float x) { return emulation::float_to_bfloat16(x); }
__device__ inline uint16_t fp16_bits(float x) { return emulation::float_to_half(x); }
#else
__device__ inline float to_float(fp16 x) { return __half2float(__ushort_as_half(x.bits)); }
__device__ inline uint16_t bf16_bits(float x) {
  return __bfloat16_as_ushort(__float2bfloat16_rn(x));
}
__device__ inline uint16_t fp16_bits(float x) { return __half_as_ushort(__float2half_rn(x)); }
#endif

template <class T>
__device__ inline T from_float(float x);
template <>
__device__ inline float from_float<float>(float x) {
  return x;
}
template <>
__device__ inline bf16 from_float<bf16>(float x) {
  return {bf16_bits(x)};
}
template <>
__device__ inline fp16 from_float<fp16>(float x) {
  return {fp16_bits(x)};
}

}  // namespace drawgan
