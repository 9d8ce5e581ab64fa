// Register-blocked matrix products: C[m, n] (+)= A[m, K] * B[K, n].
#pragma once

#include "vec.h"

namespace drawgan::DRAWGAN_ISA {

#ifdef DRAWGAN_BF16
constexpr bool kHaveBf16 = true;  // the CPU multiplies pairs of bf16 into float sums
#else
constexpr bool kHaveBf16 = false;
#endif

template <class T>
constexpr int kPanel = 2 * kLanes<T>;  // columns that a kernel keeps in registers
// Rows that it keeps: registers less the two of B, one of A and what addresses need.
template <class T>
constexpr int kRows = sizeof(T) == 8       ? 4
                      : kVectorBytes == 64 ? 13
                                           : 6;

// f(first, count): m rows in nearly equal blocks of at most `most`, so that none is left with a
// few.
template <class F>
DRAWGAN_INLINE void row_blocks(int64_t m, int64_t most, const F& f) {
  const int64_t blocks = (m + most - 1) / most;
  for (int64_t i = 0, b = 0; b < blocks; b++) {
    const int64_t rows = (m - i) / (blocks - b);
    f(i, rows);
    i += rows;
  }
}

// Rows of so wide a product that keep the multiply-add units busy, if only a few are wanted.
template <class T>
constexpr int64_t few_rows(int64_t columns) {
  if (kVectorBytes == 64 && columns >= 2 * kPanel<T>) return 3;
  return columns >= kPanel<T> ? smaller(6, kRows<T>) : kRows<T>;
}

// A(i, k) = A[i * ai + k * ak]; B(k, j) = B[k * ldb + j]; `columns` is a whole number of vectors.
// `add` is laid out as C, may be C itself, and is added if it is not null. It is added last:
// partial sums of at most K terms keep the error of long sums small.
template <class T>
void multiply_add(const T* A, int64_t ai, int64_t ak, const T* B, int64_t ldb, T* C, int64_t ldc,
                  int64_t m, int64_t columns, int64_t K, const T* add);
template <class T>
static inline void multiply(const T* A, int64_t ai, int64_t ak, const T* B, int64_t ldb, T* C,
                            int64_t ldc, int64_t m, int64_t columns, int64_t K, bool accumulate) {
  multiply_add(A, ai, ak, B, ldb, C, ldc, m, columns, K, accumulate ? C : nullptr);
}

// The same with operands in bf16 and sums in float. A word holds the values of k (low half) and
// k + 1 (high half): A(i, pair) starts at A + 2 * (i * ai + pair * ak) bytes, B(pair, j) is the
// word B[pair * ldb + j].
void multiply_bf16(const uint16_t* A, int64_t ai, int64_t ak, const uint32_t* B, int64_t ldb,
                   float* C, int64_t ldc, int64_t m, int64_t columns, int64_t pairs,
                   bool accumulate);

// Two rows, of floats or of bf16, into one row of words; `high` may be null (zeros).
void pack_pair(const float* low, const float* high, int64_t columns, uint32_t* words);
void pack_pair(const uint16_t* low, const uint16_t* high, int64_t columns, uint32_t* words);

// A vector rounded to bf16.
DRAWGAN_INLINE void store_half(uint16_t* to, Vec<float> v) {
#ifdef DRAWGAN_BF16
  const __m256bh half = _mm512_cvtneps_pbh((__m512)v);
  __builtin_memcpy(to, &half, sizeof half);
#else
  (void)to, (void)v;
  __builtin_trap();  // nothing asks for it: kHaveBf16 is checked first
#endif
}

// A matrix B[K, N] in panels of kPanel columns (the last may be one vector wide), each K x width
// contiguous. N is a whole number of vectors.
template <class T>
struct Packed {
  T* data = nullptr;
  uint32_t* pairs = nullptr;  // the same in bf16, (K + 1) / 2 rows of words, or null
  int64_t K = 0, N = 0;

  int64_t width(int64_t column) const {
    return column / kPanel<T> * kPanel<T> + kPanel<T> <= N ? kPanel<T> : kLanes<T>;
  }
  T* panel(int64_t column) const { return data + column * K; }
  uint32_t* panel_pairs(int64_t column) const { return pairs + column * ((K + 1) / 2); }
};

// Fills the bf16 copies of the panels [begin, end), counted in panels.
void pack_pairs(const Packed<float>& w, int64_t begin, int64_t end);

// The left operand of a product with a Packed matrix: m rows, and their bf16 copy if wanted.
template <class T>
struct Rows {
  const T* data;
  int64_t ld;
  const uint16_t* half = nullptr;
  int64_t ld_half = 0;
};
constexpr int64_t half_row(int64_t K) { return round_up(K + 1, 32) + 32; }  // no multiple of 4 KiB
// Rows of K floats rounded to bf16 into `scratch`, m * half_row(K) numbers.
Rows<float> halved(const float* data, int64_t ld, int64_t m, int64_t K, uint16_t* scratch);

// Columns of A (rows of B) outside [from, to) are zeros in A and may be left out.
template <class T>
void multiply(const Rows<T>& A, const Packed<T>& B, T* C, int64_t ldc, int64_t m, bool accumulate,
              int64_t from, int64_t to);
template <class T>
static inline void multiply(const Rows<T>& A, const Packed<T>& B, T* C, int64_t ldc, int64_t m,
                            bool accumulate) {
  multiply(A, B, C, ldc, m, accumulate, 0, B.K);
}

}  // namespace drawgan::DRAWGAN_ISA
