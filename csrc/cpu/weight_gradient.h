// Weight gradients: C[m, N] += sum over rows of A[row, m]^T G[row, N], several matrices at a time,
// split over threads by blocks of C. Every element is summed over its rows in one fixed order.
#pragma once

#include "gemm.h"

namespace drawgan::DRAWGAN_ISA {

template <class T>
struct ProductRows {
  const T* A;
  int64_t lda;
  const T* G;
  int64_t rows;
  const uint16_t* half = nullptr;  // G in bf16, instead of it
};

template <class T>
struct Target {
  T* C;
  int64_t ldc, m, N, ld_g;
  ProductRows<T> sources[2];
  int count;
};

// Rows taken together: their piece of G, one panel wide, stays in L1 while it meets every row of C.
constexpr int64_t kRowBlock = 256;
// Rows of C that meet one set of panels at most: their piece of A stays in L2.
constexpr int64_t kColumnBlock = 640;

template <class T>
constexpr int64_t product_scratch_bytes(bool bf16) {
  const int64_t words = bf16 ? kRowBlock / 2 * round_up(kColumnBlock, 64) : 0;
  return round_up(kRowBlock * kPanel<T> * static_cast<int64_t>(sizeof(T)) + 4 * words, 64);
}

// One panel of G, packed, against one block of A's columns. `next` is where in G the next panel
// begins, or -1.
template <class T>
DRAWGAN_INLINE void add_block(const Target<T>& target, const ProductRows<T>& source, int64_t k,
                              int64_t rows, int64_t column, int64_t columns, int64_t n,
                              const uint32_t* pairs, int64_t ld_pairs, bool accumulate,
                              int64_t next, T* packed) {
  const int64_t width = smaller<int64_t>(kPanel<T>, target.N - n), ld = target.ld_g;
  const int64_t at = k * ld + n;
  if (pairs) {
    if constexpr (sizeof(T) == 4) {
      auto pack = [&](const auto* G) {
        for (int64_t i = 0; i < rows; i += 2)
          pack_pair(G + i * ld, i + 1 < rows ? G + (i + 1) * ld : nullptr, width,
                    reinterpret_cast<uint32_t*>(packed) + i / 2 * width);
      };
      source.half ? pack(source.half + at) : pack(source.G + at);
    }
  } else {
    const T* G = source.G + at;
    for (int64_t i = 0; i < rows; i++)
      for (int64_t v = 0; v < width; v += kLanes<T>)
        store(packed + i * width + v, load(G + i * ld + v));
  }
  // Rows of G lie in different pages, where the hardware does not fetch ahead: fetch the next
  // panel, a few rows at a time.
  int64_t fetched = 0;
  row_blocks(columns, 2 * kRows<T>, [&](int64_t i, int64_t m) {
    const int64_t until = kRowBlock * (i + m) / columns;
    for (; next >= 0 && fetched < until; fetched++) {
      const int64_t row = next + fetched * ld;
      if (source.half) {
        __builtin_prefetch(source.half + row, 0, 2);
        continue;
      }
      __builtin_prefetch(source.G + row, 0, 2);
      __builtin_prefetch(source.G + row + kPanel<T> / 2, 0, 2);
    }
    T* C = target.C + (column + i) * target.ldc + n;
    if constexpr (sizeof(T) == 4) {
      if (pairs) {
        multiply_bf16(reinterpret_cast<const uint16_t*>(pairs + i), 2, 2 * ld_pairs,
                      reinterpret_cast<const uint32_t*>(packed), width, C, target.ldc, m, width,
                      (rows + 1) / 2, accumulate);
        return;
      }
    }
    multiply(source.A + k * source.lda + column + i, int64_t{1}, source.lda, packed, width, C,
             target.ldc, m, width, rows, accumulate);
  });
}

// The share of one thread.
template <class T>
static inline void add_products(const Target<T>* targets, int count, bool bf16, bool accumulate,
                                int part, int parts, T* scratch) {
  T* packed = scratch;
  auto* pairs = bf16 ? reinterpret_cast<uint32_t*>(scratch + kRowBlock * kPanel<T>) : nullptr;
  auto rows_of_target = [](const Target<T>& t) {
    int64_t rows = 0;
    for (int i = 0; i < t.count; i++) rows += t.sources[i].rows;
    return static_cast<double>(rows);
  };
  double total = 0, before = 0;
  for (int i = 0; i < count; i++) total += rows_of_target(targets[i]) * targets[i].m * targets[i].N;
  for (const Target<T>* target = targets; target < targets + count; target++) {
    const int64_t panels = (target->N + kPanel<T> - 1) / kPanel<T>;
    // With many threads, pieces small enough that each gets its share.
    const int64_t wanted = smaller<int64_t>((4 * parts + panels - 1) / panels, target->m);
    const int64_t blocks = larger((target->m + kColumnBlock - 1) / kColumnBlock, wanted);
    const int64_t units = blocks * panels;
    const double each = rows_of_target(*target) * target->m * target->N / units;
    // Units are dealt out in order, so that every thread gets a like share of the work.
    auto owner = [&](int64_t u) {
      return smaller(parts - 1, static_cast<int>((before + (u + 0.5) * each) / total * parts));
    };
    int64_t begin = 0, end = units;
    while (begin < end && owner(begin) < part) begin++;
    while (end > begin && owner(end - 1) > part) end--;
    before += units * each;
    for (int i = 0; i < target->count; i++) {
      const ProductRows<T>& source = target->sources[i];
      for (int64_t k = 0; k < source.rows; k += kRowBlock) {
        const int64_t rows = smaller(kRowBlock, source.rows - k);
        int64_t in_pairs = -1;
        for (int64_t u = begin; u < end; u++) {
          const int64_t block = u / panels, n = u % panels * kPanel<T>;
          const int64_t column = target->m * block / blocks;
          const int64_t columns = target->m * (block + 1) / blocks - column;
          const int64_t ld_pairs = round_up(columns, kLanes<T>);
          if constexpr (sizeof(T) == 4)
            if (pairs && in_pairs != block) {
              in_pairs = block;
              const T* A = source.A + k * source.lda + column;
              for (int64_t r = 0; r < rows; r += 2)
                pack_pair(A + r * source.lda, r + 1 < rows ? A + (r + 1) * source.lda : nullptr,
                          ld_pairs, pairs + r / 2 * ld_pairs);
            }
          const bool wraps = u + 1 == end;
          const int64_t next_k = wraps ? k + kRowBlock : k;
          const int64_t next_n = (wraps ? begin : u + 1) % panels * kPanel<T>;
          const int64_t next =
              next_k + kRowBlock <= source.rows ? next_k * target->ld_g + next_n : -1;
          add_block(*target, source, k, rows, column, columns, n, pairs, ld_pairs,
                    accumulate || i > 0 || k > 0, next, packed);
        }
      }
    }
  }
}

}  // namespace drawgan::DRAWGAN_ISA
