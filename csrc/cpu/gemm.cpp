#include "gemm.h"

namespace drawgan::DRAWGAN_ISA {
namespace {

// All iterations written out, which is what keeps the sums in registers.
#define EACH(i, n) _Pragma("GCC unroll 16") for (int i = 0; i < (n); i++)

template <class T, int M, int V>
void kernel(const T* __restrict A, int64_t ai, int64_t ak, const T* __restrict B, int64_t ldb, T* C,
            int64_t ldc, int64_t K, const T* add) {
  constexpr int L = kLanes<T>;
  Vec<T> sum[M][V];
  EACH(i, M) EACH(j, V) sum[i][j] = Vec<T>{};
  const T* rows[(M + 2) / 3];  // a pointer for every three rows: addresses stay in registers
  EACH(g, (M + 2) / 3) rows[g] = A + 3 * g * ai;
  if (add) EACH(i, M) EACH(j, V) __builtin_prefetch(C + i * ldc + j * L, 1, 3);
  for (int64_t k = 0; k < K; k++) {
    Vec<T> b[V];
    EACH(j, V) b[j] = load(B + j * L);
    EACH(i, M) {
      const T a = rows[i / 3][i % 3 * ai];
      EACH(j, V) sum[i][j] += a * b[j];
    }
    EACH(g, (M + 2) / 3) rows[g] += ak;
    B += ldb;
  }
  if (add) EACH(i, M) EACH(j, V) sum[i][j] += load(add + i * ldc + j * L);
  EACH(i, M) EACH(j, V) store(C + i * ldc + j * L, sum[i][j]);
}

template <class T>
using Kernel = void (*)(const T*, int64_t, int64_t, const T*, int64_t, T*, int64_t, int64_t,
                        const T*);

template <class T, int V, size_t... I>
Kernel<T> pick(int64_t m, std::index_sequence<I...>) {
  static constexpr Kernel<T> table[] = {kernel<T, static_cast<int>(I) + 1, V>...};
  return table[m - 1];
}

template <class T>
void panel(const T* A, int64_t ai, int64_t ak, const T* B, int64_t ldb, T* C, int64_t ldc,
           int64_t m, int64_t width, int64_t K, const T* add) {
  constexpr auto counts = std::make_index_sequence<kRows<T>>{};
  row_blocks(m, kRows<T>, [&](int64_t i, int64_t rows) {
    const Kernel<T> f = width == kPanel<T> ? pick<T, 2>(rows, counts) : pick<T, 1>(rows, counts);
    f(A + i * ai, ai, ak, B, ldb, C + i * ldc, ldc, K, add ? add + i * ldc : nullptr);
  });
}

#ifdef DRAWGAN_BF16
using Words = Bits<float>;

inline Vec<float> dot_pairs(Vec<float> sum, Words a, Words b) {
  return (Vec<float>)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}

template <int M, int V>
void kernel_bf16(const uint16_t* __restrict A, int64_t ai, int64_t ak, const uint32_t* __restrict B,
                 int64_t ldb, float* __restrict C, int64_t ldc, int64_t pairs, bool accumulate) {
  constexpr int L = kLanes<float>;
  Vec<float> sum[M][V];
  EACH(i, M) EACH(j, V) sum[i][j] = Vec<float>{};
  const uint16_t* rows[(M + 2) / 3];
  EACH(g, (M + 2) / 3) rows[g] = A + 3 * g * ai;
  if (accumulate) EACH(i, M) EACH(j, V) __builtin_prefetch(C + i * ldc + j * L, 1, 3);
  for (int64_t k = 0; k < pairs; k++) {
    Words b[V];
    EACH(j, V) __builtin_memcpy(&b[j], B + j * L, sizeof b[j]);
    EACH(i, M) {
      int32_t word;
      __builtin_memcpy(&word, rows[i / 3] + i % 3 * ai, 4);
      EACH(j, V) sum[i][j] = dot_pairs(sum[i][j], word - Words{}, b[j]);
    }
    EACH(g, (M + 2) / 3) rows[g] += ak;
    B += ldb;
  }
  if (accumulate) EACH(i, M) EACH(j, V) sum[i][j] += load(C + i * ldc + j * L);
  EACH(i, M) EACH(j, V) store(C + i * ldc + j * L, sum[i][j]);
}

using KernelBf16 = void (*)(const uint16_t*, int64_t, int64_t, const uint32_t*, int64_t, float*,
                            int64_t, int64_t, bool);

template <int V, size_t... I>
KernelBf16 pick_bf16(int64_t m, std::index_sequence<I...>) {
  static constexpr KernelBf16 table[] = {kernel_bf16<static_cast<int>(I) + 1, V>...};
  return table[m - 1];
}
#endif
#undef EACH

}  // namespace

// With so few rows that they stay in registers four vectors wide.
constexpr int kFew = kVectorBytes == 64 ? 6 : 0;

template <class T>
void multiply_add(const T* A, int64_t ai, int64_t ak, const T* B, int64_t ldb, T* C, int64_t ldc,
                  int64_t m, int64_t columns, int64_t K, const T* add) {
  int64_t n = 0;
  if constexpr (kFew > 0) {
    constexpr auto counts = std::make_index_sequence<kFew>{};
    for (; m <= kFew && columns - n >= 2 * kPanel<T>; n += 2 * kPanel<T>)
      pick<T, 4>(m, counts)(A, ai, ak, B + n, ldb, C + n, ldc, K, add ? add + n : nullptr);
  }
  for (; n < columns; n += kPanel<T>)
    panel(A, ai, ak, B + n, ldb, C + n, ldc, m, smaller<int64_t>(kPanel<T>, columns - n), K,
          add ? add + n : nullptr);
}
template void multiply_add<float>(const float*, int64_t, int64_t, const float*, int64_t, float*,
                                  int64_t, int64_t, int64_t, int64_t, const float*);
template void multiply_add<double>(const double*, int64_t, int64_t, const double*, int64_t, double*,
                                   int64_t, int64_t, int64_t, int64_t, const double*);

template <class T>
void multiply(const Rows<T>& A, const Packed<T>& B, T* C, int64_t ldc, int64_t m, bool accumulate,
              int64_t from, int64_t to) {
  const int64_t from_pair = from / 2, to_pair = (to + 1) / 2;
  for (int64_t n = 0; n < B.N; n += kPanel<T>) {
    const int64_t width = B.width(n);
    if constexpr (kHaveBf16 && sizeof(T) == 4) {
      if (A.half) {
        multiply_bf16(A.half + 2 * from_pair, A.ld_half, 2, B.panel_pairs(n) + from_pair * width,
                      width, C + n, ldc, m, width, to_pair - from_pair, accumulate);
        continue;
      }
    }
    panel(A.data + from, A.ld, int64_t{1}, B.panel(n) + from * width, width, C + n, ldc, m, width,
          to - from, accumulate ? C + n : nullptr);
  }
}
template void multiply<float>(const Rows<float>&, const Packed<float>&, float*, int64_t, int64_t,
                              bool, int64_t, int64_t);
template void multiply<double>(const Rows<double>&, const Packed<double>&, double*, int64_t,
                               int64_t, bool, int64_t, int64_t);

#ifdef DRAWGAN_BF16
void multiply_bf16(const uint16_t* A, int64_t ai, int64_t ak, const uint32_t* B, int64_t ldb,
                   float* C, int64_t ldc, int64_t m, int64_t columns, int64_t pairs,
                   bool accumulate) {
  constexpr auto counts = std::make_index_sequence<kRows<float>>{};
  for (int64_t n = 0; n < columns; n += kPanel<float>) {
    const bool wide = columns - n >= kPanel<float>;
    row_blocks(m, kRows<float>, [&](int64_t i, int64_t rows) {
      const KernelBf16 f = wide ? pick_bf16<2>(rows, counts) : pick_bf16<1>(rows, counts);
      f(A + i * ai, ai, ak, B + n, ldb, C + i * ldc + n, ldc, pairs, accumulate);
    });
  }
}

namespace {

// bf16 numbers, each in a word of its own.
Words widened(const void* halves) {
  typedef uint16_t Halves __attribute__((vector_size(kVectorBytes / 2)));
  Halves h;
  __builtin_memcpy(&h, halves, sizeof h);
  return __builtin_convertvector(h, Words);
}
inline Words load_half(const uint16_t* p) { return widened(p); }
inline Words load_half(const float* p) {
  const __m256bh half = _mm512_cvtneps_pbh((__m512)load(p));
  return widened(&half);
}

template <class From>
void pack_pair_of(const From* low, const From* high, int64_t columns, uint32_t* words) {
  for (int64_t c = 0; c < columns; c += kLanes<float>) {
    const Words both = load_half(low + c) | (high ? load_half(high + c) : Words{}) << 16;
    __builtin_memcpy(words + c, &both, sizeof both);
  }
}

}  // namespace

void pack_pair(const float* low, const float* high, int64_t columns, uint32_t* words) {
  pack_pair_of(low, high, columns, words);
}
void pack_pair(const uint16_t* low, const uint16_t* high, int64_t columns, uint32_t* words) {
  pack_pair_of(low, high, columns, words);
}

void pack_pairs(const Packed<float>& w, int64_t begin, int64_t end) {
  for (int64_t p = begin; p < end; p++) {
    const int64_t column = p * kPanel<float>, width = w.width(column);
    const float* from = w.panel(column);
    uint32_t* to = w.panel_pairs(column);
    for (int64_t k = 0; k < w.K; k += 2, to += width)
      pack_pair(from + k * width, k + 1 < w.K ? from + (k + 1) * width : nullptr, width, to);
  }
}

Rows<float> halved(const float* data, int64_t ld, int64_t m, int64_t K, uint16_t* scratch) {
  const int64_t ld_half = half_row(K);
  for (int64_t i = 0; i < m; i++) {
    const float* from = data + i * ld;
    uint16_t* to = scratch + i * ld_half;
    int64_t k = 0;
    for (; k + kLanes<float> <= K; k += kLanes<float>) store_half(to + k, load(from + k));
    store_half(to + k, load_part(from + k, K - k));  // at least one zero after the last number
  }
  return {data, ld, scratch, ld_half};
}
#else
// Without the instructions nothing asks for these: kHaveBf16 is checked first.
void multiply_bf16(const uint16_t*, int64_t, int64_t, const uint32_t*, int64_t, float*, int64_t,
                   int64_t, int64_t, int64_t, bool) {
  __builtin_trap();
}
void pack_pair(const float*, const float*, int64_t, uint32_t*) { __builtin_trap(); }
void pack_pair(const uint16_t*, const uint16_t*, int64_t, uint32_t*) { __builtin_trap(); }
void pack_pairs(const Packed<float>&, int64_t, int64_t) { __builtin_trap(); }
Rows<float> halved(const float* data, int64_t ld, int64_t, int64_t, uint16_t*) {
  return {data, ld};
}
#endif

}  // namespace drawgan::DRAWGAN_ISA
