// Memory handed out in pieces.
#pragma once

#include "vec.h"

namespace drawgan::DRAWGAN_ISA {

// A piece of memory handed out from the front, in whole cache lines. With a null base it only
// counts.
template <class T>
class Arena {
 public:
  explicit Arena(void* base) : base_(static_cast<char*>(base)) {}
  template <class U = T>
  U* take(int64_t n) {
    U* at = base_ ? reinterpret_cast<U*>(base_ + used_) : nullptr;
    used_ += round_up(n * static_cast<int64_t>(sizeof(U)), 64);
    return at;
  }
  int64_t bytes() const { return used_; }

 private:
  char* base_;
  int64_t used_ = 0;
};

// Row strides are an odd number of cache lines: rows of one column then use every set of the cache.
template <class T>
constexpr int64_t odd_lines(int64_t n) {
  constexpr int64_t line = 64 / sizeof(T);
  return (round_up(n, line) / line | 1) * line;
}

}  // namespace drawgan::DRAWGAN_ISA
