// Work split over torch's own OpenMP threads.
#pragma once

#include <cstdint>

#include "process.h"
#include "vec.h"

namespace drawgan::DRAWGAN_ISA {

// f(part, parts) for every part, at most `threads` of them. A forked child (a DataLoader worker,
// say) runs alone; results do not depend on the number of threads.
template <class F>
static inline void in_parallel(int threads, int64_t most, const F& f) {
#ifdef _OPENMP
  const int parts = static_cast<int>(smaller<int64_t>(threads, most));
  if (parts > 1 && !in_forked_child()) {
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int part = 0; part < parts; part++) f(part, parts);
    return;
  }
#endif
  f(0, 1);
}

// f(begin, end, part) over nearly equal slices of [0, n).
template <class F>
static inline void over_slices(int threads, int64_t n, const F& f) {
  in_parallel(threads, n,
              [&](int part, int parts) { f(n * part / parts, n * (part + 1) / parts, part); });
}

// Threads worth waking for so many multiply-adds: waking one costs about five microseconds.
static inline int worthwhile(int threads, double multiply_adds) {
  const double most = multiply_adds / 5e4;
  return most < threads ? larger(1, static_cast<int>(most)) : threads;
}

}  // namespace drawgan::DRAWGAN_ISA
