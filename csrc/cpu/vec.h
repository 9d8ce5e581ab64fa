// Vectors of one instruction set. This header is compiled once per set, with DRAWGAN_ISA (the
// namespace) and DRAWGAN_VECTOR_BYTES (the width) from the build. The width belongs to the set:
// compilers lower vectors wider than the machine's lane by lane, eighty times slower.
//
// Nothing here may leave the object file as a weak symbol: the linker could then give a baseline
// caller the AVX-512 copy. So no standard containers, and everything small is always inlined.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>
#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

#define DRAWGAN_INLINE static inline __attribute__((always_inline))

namespace drawgan::DRAWGAN_ISA {

constexpr int kVectorBytes = DRAWGAN_VECTOR_BYTES;

template <class T>
struct VectorOf;
template <>
struct VectorOf<float> {
  typedef float type __attribute__((vector_size(kVectorBytes)));
  typedef int32_t bits __attribute__((vector_size(kVectorBytes)));
};
template <>
struct VectorOf<double> {
  typedef double type __attribute__((vector_size(kVectorBytes)));
  typedef int64_t bits __attribute__((vector_size(kVectorBytes)));
};
template <class T>
using Vec = typename VectorOf<T>::type;
template <class T>
using Bits = typename VectorOf<T>::bits;
template <class T>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(T));

template <class A>
constexpr A smaller(A a, A b) {
  return b < a ? b : a;
}
template <class A>
constexpr A larger(A a, A b) {
  return a < b ? b : a;
}
constexpr int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

template <class T>
DRAWGAN_INLINE Vec<T> splat(T a) {
  return a - Vec<T>{};
}
template <class T>
DRAWGAN_INLINE Vec<T> load(const T* p) {
  Vec<T> v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
template <class T>
DRAWGAN_INLINE void store(T* p, Vec<T> v) {
  __builtin_memcpy(p, &v, sizeof v);
}

template <class T, size_t... I>
DRAWGAN_INLINE Vec<T> iota_of(std::index_sequence<I...>) {
  return Vec<T>{static_cast<T>(I)...};
}
template <class T>
DRAWGAN_INLINE Vec<T> iota() {
  return iota_of<T>(std::make_index_sequence<kLanes<T>>{});
}

// The first n lanes, the others zero; reads no byte beyond them.
template <class T>
DRAWGAN_INLINE Vec<T> load_part(const T* p, int64_t n) {
  if (n >= kLanes<T>) return load(p);
  Vec<T> v{};
  for (int i = 0; i < kLanes<T>; i++)
    if (i < n) v[i] = p[i];
  return v;
}
template <class T>
DRAWGAN_INLINE void store_part(T* p, Vec<T> v, int64_t n) {
  if (n >= kLanes<T>) return store(p, v);
  for (int i = 0; i < kLanes<T>; i++)
    if (i < n) p[i] = v[i];
}
#if defined(__AVX512F__)
template <>
inline __attribute__((always_inline)) Vec<float> load_part<float>(const float* p, int64_t n) {
  if (n >= 16) return load(p);
  return (Vec<float>)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
}
template <>
inline __attribute__((always_inline)) void store_part<float>(float* p, Vec<float> v, int64_t n) {
  if (n >= 16) return store(p, v);
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), (__m512)v);
}
#elif defined(__AVX2__)
DRAWGAN_INLINE __m256i first_lanes(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
template <>
inline __attribute__((always_inline)) Vec<float> load_part<float>(const float* p, int64_t n) {
  if (n >= 8) return load(p);
  return (Vec<float>)_mm256_maskload_ps(p, first_lanes(n));
}
template <>
inline __attribute__((always_inline)) void store_part<float>(float* p, Vec<float> v, int64_t n) {
  if (n >= 8) return store(p, v);
  _mm256_maskstore_ps(p, first_lanes(n), (__m256)v);
}
#endif

template <class T, int S, size_t... I>
DRAWGAN_INLINE Vec<T> rotated(Vec<T> v, std::index_sequence<I...>) {
  return __builtin_shufflevector(v, v, static_cast<int>((I + S) % kLanes<T>)...);
}
template <class T, int S = kLanes<T> / 2>
DRAWGAN_INLINE T sum_of_lanes(Vec<T> v) {
  v += rotated<T, S>(v, std::make_index_sequence<kLanes<T>>{});
  if constexpr (S > 1)
    return sum_of_lanes<T, S / 2>(v);
  else
    return v[0];
}

// Lanes with bit S of their number clear come from a, the others from b; the two halves of each are
// added.
template <class T, int S, size_t... I>
DRAWGAN_INLINE Vec<T> folded(Vec<T> a, Vec<T> b, std::index_sequence<I...>) {
  constexpr int L = kLanes<T>;
  return __builtin_shufflevector(a, b, static_cast<int>((I & S) ? I - S + L : I)...) +
         __builtin_shufflevector(a, b, static_cast<int>((I & S) ? I + L : I + S)...);
}
// Lane i of the result is the sum of the lanes of v[i]; v[0..lanes) is destroyed. A tree: one
// addition a vector instead of log2(lanes).
template <class T, int S = kLanes<T> / 2>
DRAWGAN_INLINE Vec<T> sums_of_lanes(Vec<T>* v) {
  for (int i = 0; i < S; i++)
    v[i] = folded<T, S>(v[i], v[i + S], std::make_index_sequence<kLanes<T>>{});
  if constexpr (S > 1)
    return sums_of_lanes<T, S / 2>(v);
  else
    return v[0];
}

template <class T, int S, size_t... I>
DRAWGAN_INLINE void exchange(Vec<T>& a, Vec<T>& b, std::index_sequence<I...>) {
  constexpr int L = kLanes<T>;
  const Vec<T> low = __builtin_shufflevector(a, b, static_cast<int>((I & S) ? I - S + L : I)...);
  b = __builtin_shufflevector(a, b, static_cast<int>((I & S) ? I + L : I + S)...);
  a = low;
}
// Lane j of v[i] becomes lane i of v[j], for as many vectors as one has lanes.
template <class T, int S = kLanes<T> / 2>
DRAWGAN_INLINE void transpose_lanes(Vec<T>* v) {
#pragma GCC unroll 16
  for (int i = 0; i < kLanes<T>; i++)
    if (!(i & S)) exchange<T, S>(v[i], v[i + S], std::make_index_sequence<kLanes<T>>{});
  if constexpr (S > 1) transpose_lanes<T, S / 2>(v);
}

// to [columns padded, ld_to] = from [rows, ld] transposed, both of whole vectors; zeros beyond the
// rows.
template <class T>
static inline void transpose(const T* from, int64_t rows, int64_t ld, T* to, int64_t ld_to) {
  constexpr int L = kLanes<T>;
  for (int64_t i = 0; i < rows; i += L)
    for (int64_t j = 0; j < ld; j += L) {
      Vec<T> v[L];
      for (int64_t l = 0; l < L; l++)
        v[l] = i + l < rows ? load(from + (i + l) * ld + j) : Vec<T>{};
      transpose_lanes<T>(v);
      for (int64_t l = 0; l < L; l++) store(to + (j + l) * ld_to + i, v[l]);
    }
}

}  // namespace drawgan::DRAWGAN_ISA
