// The gradient of the filters along the height: a product that sums over the rows of both factors.
#pragma once

#include "filters.h"
#include "gemm.h"

namespace drawgan::DRAWGAN_ISA {

// What is summed over: pairs of Z and an image's channel.
template <class T>
struct Planes {
  const T* Z;              // [count, N, ld]
  const T* const* images;  // [count] of [H, ld]
  int64_t count, N, ld;
};

// out[j, y] for filters j..j+J and as many pixels y.. as fill a vector with them.
template <class T, int J>
DRAWGAN_INLINE void contract_block(const Planes<T>& s, int64_t j, int64_t y, int64_t ld_out,
                                   T* out) {
  constexpr int L = kLanes<T>, Y = L / J;
  Vec<T> sum[L];
#pragma GCC unroll 16
  for (int i = 0; i < L; i++) sum[i] = Vec<T>{};
  const int64_t ld = s.ld;
  const T* Z = s.Z + j * ld;
  int64_t plane = 0;
  do {  // there is at least one plane of at least one vector
    const T* rows = s.images[plane] + y * ld;
    int64_t v = 0;
    do {
      Vec<T> z[J];
#pragma GCC unroll 16
      for (int a = 0; a < J; a++) z[a] = load(Z + a * ld + v);
#pragma GCC unroll 16
      for (int b = 0; b < Y; b++) {
        const Vec<T> row = load(rows + b * ld + v);
#pragma GCC unroll 16
        for (int a = 0; a < J; a++) sum[a * Y + b] += z[a] * row;
      }
    } while ((v += L) < ld);
    Z += s.N * ld;
  } while (++plane < s.count);
  const Vec<T> sums = sums_of_lanes<T>(sum);
#pragma GCC unroll 16
  for (int a = 0; a < J; a++)
    __builtin_memcpy(out + (j + a) * ld_out + y, reinterpret_cast<const T*>(&sums) + a * Y,
                     Y * sizeof(T));
}

// The same for an image of fewer rows than a block has.
template <class T>
static inline void contract_low(const Planes<T>& s, int64_t height, int64_t ld_out, T* out) {
  for (int64_t j = 0; j < s.N; j++)
    for (int64_t y = 0; y < height; y++) {
      Vec<T> sum{};
      for (int64_t plane = 0; plane < s.count; plane++)
        for (int64_t v = 0; v < s.ld; v += kLanes<T>)
          sum += load(s.Z + (plane * s.N + j) * s.ld + v) * load(s.images[plane] + y * s.ld + v);
      out[j * ld_out + y] = sum_of_lanes<T>(sum);
    }
}

// Filters that fill a vector, against rows too short to make up for the sums of lanes: with the
// filters in the lanes. Z_columns is [ld, N padded], columns [H, N padded].
template <class T>
static inline void contract_narrow(const Filters<T>& f, const Planes<T>& s, int64_t width,
                                   T* Z_columns, T* columns, T* dF) {
  const int64_t ld_columns = f.padded();
  for (int64_t plane = 0; plane < s.count; plane++) {
    transpose(s.Z + plane * s.N * s.ld, s.N, s.ld, Z_columns, ld_columns);
    multiply(s.images[plane], s.ld, int64_t{1}, Z_columns, ld_columns, columns, ld_columns,
             f.pixels, ld_columns, width, plane > 0);
  }
  transpose(columns, f.pixels, ld_columns, dF, f.ld);
}
template <class T>
constexpr bool is_narrow(int64_t N, int64_t ld) {
  return 2 * N > kLanes<T> && ld <= 2 * kLanes<T>;
}

// dF [N padded, f.ld] = sum over planes and x of Z[j, x] * image[y, x], where F is not 0.
template <class T>
static inline void contract_rows(const Filters<T>& f, const T* Z, const T* const* images,
                                 int64_t planes, int64_t width, int64_t ld, T* Z_columns,
                                 T* columns, T* dF) {
  constexpr int L = kLanes<T>;
  const Planes<T> s{Z, images, planes, f.N, ld};
  if (is_narrow<T>(f.N, ld)) return contract_narrow(f, s, width, Z_columns, columns, dF);
  memset(dF, 0, f.N * f.ld * sizeof(T));
  if (f.pixels < L) return contract_low(s, f.pixels, f.ld, dF);
  for (int64_t block = 0; block < f.pixels; block += L / 2) {
    const int64_t y = smaller<int64_t>(block, f.pixels - L / 2);
    for (int64_t j = 0; j + 1 < f.N; j += 2)
      if (f.first[j] < y + L / 2 && f.last[j + 1] > y) contract_block<T, 2>(s, j, y, f.ld, dF);
  }
  if (f.N % 2 == 1)
    for (int64_t block = 0; block < f.pixels; block += L) {
      const int64_t j = f.N - 1, y = smaller<int64_t>(block, f.pixels - L);
      if (f.first[j] < y + L && f.last[j] > y) contract_block<T, 1>(s, j, y, f.ld, dF);
    }
}

}  // namespace drawgan::DRAWGAN_ISA
