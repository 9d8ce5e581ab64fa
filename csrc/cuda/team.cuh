// Blocks that carry a tile of samples together, and how they tell each other numbers. Every block
// has a board in shared memory, at the same place, with all that its products take. Kernels write
// their part into their own board and publish it:
//
//   cluster: straight into the boards of the others, through distributed shared memory;
//   grid: into a copy of the board in global memory, from where each takes it after the barrier.
#pragma once

#include "draw_plan.h"

namespace drawgan::cuda {

// Copies 16 bytes at a time with all threads of the block.
__device__ inline void copy_wide(void* to, const void* from, int bytes) {
  for (int i = static_cast<int>(threadIdx.x); i < bytes / 16; i += static_cast<int>(blockDim.x))
    static_cast<uint4*>(to)[i] = static_cast<const uint4*>(from)[i];
}

class ClusterTeam {
 public:
  static constexpr bool kStreams = false;  // all weights are resident

  // Older chips have no clusters: no code is made for them.
  __device__ static constexpr bool runs_here() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
    return false;
#else
    return true;
#endif
  }
  __device__ ClusterTeam(const DrawPlan&, unsigned char*, void*, unsigned*)
      : rank_(static_cast<int>(cluster_rank())), size_(static_cast<int>(cluster_size())) {}

  __device__ int rank() const { return rank_; }
  __device__ int size() const { return size_; }
  __device__ int index() const { return static_cast<int>(blockIdx.x) / size_; }

  // Part of the own board, to everybody's. Starts behind a barrier of the block.
  __device__ void publish(void* part, int bytes) const {
    const int wide = bytes / 16, all = wide * (size_ - 1);
    for (int i = static_cast<int>(threadIdx.x); i < all; i += static_cast<int>(blockDim.x)) {
      const int other = i / wide, at = i - other * wide;
      uint4* from = static_cast<uint4*>(part) + at;
      *on_block(from, static_cast<unsigned>((rank_ + 1 + other) % size_)) = *from;
    }
  }

  // One number to everybody's board, and to one block's.
  template <class T>
  __device__ void store(T* at, T value) const {
    for (int other = 0; other < size_; other++)
      *on_block(at, static_cast<unsigned>((rank_ + other) % size_)) = value;
  }
  template <class T>
  __device__ void store_to(int other, T* at, T value) const {
    *on_block(at, static_cast<unsigned>(other)) = value;
  }

  // All that was published before it is there after it.
  __device__ void sync() { cluster_sync(); }
  // The same of weights that one team lays out for all.
  __device__ void sync_teams() const {}

  // Makes a part of the board readable after sync(): it is already there.
  __device__ void take(void*, int) const {}
  __device__ void taken() const {}

 private:
  int rank_, size_;
};

class GridTeam {
 public:
  static constexpr bool kStreams = true;

  __device__ static constexpr bool runs_here() { return true; }
  // `global`: plan.board_bytes for each team, zero; `counters`: 32 for each team, zero.
  __device__ GridTeam(const DrawPlan& plan, unsigned char* board, void* global, unsigned* counters)
      : rank_(static_cast<int>(blockIdx.x) % plan.team),
        size_(plan.team),
        index_(static_cast<int>(blockIdx.x) / plan.team),
        board_(board),
        global_(static_cast<unsigned char*>(global) + index_ * plan.board_bytes),
        counter_(counters + 32 * index_) {}

  __device__ int rank() const { return rank_; }
  __device__ int size() const { return size_; }
  __device__ int index() const { return index_; }

  __device__ void publish(void* part, int bytes) const { copy_wide(global(part), part, bytes); }
  template <class T>
  __device__ void store(T* at, T value) const {
    *global(at) = value;
  }
  template <class T>
  __device__ void store_to(int, T* at, T value) const {
    *global(at) = value;
  }
  __device__ void sync_teams() const { grid_sync(); }
  __device__ void sync() { team_sync(counter_, static_cast<unsigned>(size_)); }
  __device__ void take(void* part, int bytes) const { copy_wide(part, global(part), bytes); }
  __device__ void taken() const { __syncthreads(); }

 private:
  template <class T>
  __device__ T* global(T* at) const {
    return reinterpret_cast<T*>(global_ + (reinterpret_cast<unsigned char*>(at) - board_));
  }
  __device__ void* global(void* at) const { return global(static_cast<unsigned char*>(at)); }

  int rank_, size_, index_;
  unsigned char *board_, *global_;
  unsigned* counter_;
};

}  // namespace drawgan::cuda
