// Memory that is kept between calls: fresh pages cost a training step of DRAW a third of its time.
#pragma once

#include <cstdint>

namespace drawgan {

struct PoolInfo {
  int64_t in_use, kept;  // bytes lent out, and bytes kept for the next call
};

// Blocks are 64-byte aligned. Throws std::bad_alloc (with the size in what()) if there is none.
void* pool_take(int64_t bytes);
void pool_give_back(void* block) noexcept;
PoolInfo pool_info();
void pool_release();        // give every kept block back to the system
void pool_poison(bool on);  // fill every block with NaN before it is lent: for tests

// A block for the length of a scope.
class Workspace {
 public:
  explicit Workspace(int64_t bytes) : block_(pool_take(bytes)) {}
  ~Workspace() { pool_give_back(block_); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  void* data() const { return block_; }

 private:
  void* block_;
};

}  // namespace drawgan
