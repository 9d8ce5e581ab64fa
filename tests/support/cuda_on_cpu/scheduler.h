// Runs a kernel's threads as fibres of the calling thread, one at a time, in an order that can be
// chosen: a kernel that is right gives the same numbers in every order, and one without a barrier
// that it needs does not, even before a sanitizer looks at it.
//
// A thread runs until it waits. Whoever completes a barrier runs on, and those it woke come before
// those that were ready already: warps, blocks and clusters run as far ahead of each other as the
// barriers let them. Waits that nothing can end make the launch throw, naming the block.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "vector_types.h"

namespace drawgan::emulation {

enum class Schedule : int { forward, reverse, random };

// A kernel did what would hang, or mean nothing, on a GPU.
class KernelError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What the emulation pretends to be. As many blocks and clusters are resident as is said here,
// whatever they need: few, so that tests are quick.
struct Device {
  int capability = 90;
  std::size_t shared_bytes = 232448;
  int processors = 132;
  int resident_blocks = 8;
  int resident_clusters = 2;
};

struct Options {
  Schedule schedule = Schedule::forward;
  unsigned seed = 1;
};

extern Device device;
extern Options options;

// How many blocks are resident at once in a launch with clusters of so many.
inline unsigned resident_blocks(unsigned cluster) {
  return cluster == 1 ? static_cast<unsigned>(device.resident_blocks)
                      : static_cast<unsigned>(device.resident_clusters) * cluster;
}

struct GridShape {
  dim3 grid, block;
  std::size_t shared_bytes;
  unsigned cluster;
  bool cooperative;
};

// Every thread calls body(context). Several callers take turns.
void launch(const char* name, const GridShape& shape, void (*body)(void*), void* context);

// ------------------------------------------------------------- what a kernel's thread asks and
// does

struct Place {  // of the running thread; kernels read it through threadIdx and its kin
  uint3 thread, block;
  dim3 block_dim, grid_dim;
};
extern const Place* here;

unsigned char* dynamic_shared();
unsigned cluster_rank();
unsigned cluster_size();
void* on_block(void* shared, unsigned rank);

void block_barrier();
unsigned block_barrier_count(bool vote);  // how many threads of the block voted yes
void cluster_arrive();
void cluster_wait();
void grid_barrier();
unsigned add_release(unsigned* counter, unsigned value);
void wait_at_least(const unsigned* counter, unsigned value);

// Lanes of a warp come together; only `warp_barrier` orders what they wrote to memory.
void warp_barrier(unsigned mask);
std::uint64_t warp_shuffle(unsigned mask, std::uint64_t value, unsigned source);
unsigned warp_ballot(unsigned mask, bool vote);
void warp_mma_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]);
// Lane l hands in row l % 8 (four pairs) of matrix l / 8; r[m] is the pair lane % 4 of row lane / 4
// of matrix m.
void warp_load_matrices(std::uint32_t (&r)[4], const std::uint32_t (&row)[4]);

// Asynchronous copies are made when they are waited for, and not before.
struct AsyncCopy {
  void* shared;
  const void* global;
  unsigned group;
};
void copy_async(void* shared, const void* global);
void copy_async_commit();
// The next of this thread's copies that a wait for all but the last `pending` groups has to make.
bool copy_async_due(unsigned pending, AsyncCopy* copy);

}  // namespace drawgan::emulation
