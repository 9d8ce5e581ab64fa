// N neighbouring numbers at once: up to 16 bytes in one access, as floats on the way.
#pragma once

#include "platform.h"

namespace drawgan {

constexpr int kAccessBytes = 16;

template <class T, int N>
struct alignas(N * sizeof(T)) Pack {
  T value[N];
};

template <int N, class T>
__device__ inline void load(const T* from, float (&to)[N]) {
  const Pack<T, N> pack = *reinterpret_cast<const Pack<T, N>*>(from);
#pragma unroll
  for (int n = 0; n < N; n++) to[n] = to_float(pack.value[n]);
}

template <int N, class T>
__device__ inline void store(T* to, const float (&from)[N]) {
  Pack<T, N> pack;
#pragma unroll
  for (int n = 0; n < N; n++) pack.value[n] = from_float<T>(from[n]);
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

// Whether rows of `columns` numbers from here on can be read N at a time.
template <int N, class T>
bool in_packs(const T* rows, std::int64_t columns) {
  return columns % N == 0 && reinterpret_cast<std::uintptr_t>(rows) % (N * sizeof(T)) == 0;
}

}  // namespace drawgan
