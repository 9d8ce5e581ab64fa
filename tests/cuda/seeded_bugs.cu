// Small kernels, right as they stand; each bug takes away one thing that they need, or adds one
// that they must not do. A program of its own, so that a sanitizer may end it:
//
//   seeded_bugs BUG [SCHEDULE]     a name below; 0 forward, 1 reverse, more: random with that seed
//
// "here: BUG" marks the lines that a sanitizer's report of that bug may name.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "platform.h"

namespace drawgan {
namespace {

enum class Bug {
  none,
  missing_syncthreads,
  missing_syncwarp,
  missing_cluster_sync,
  missing_last_cluster_sync,
  missing_team_sync,
  missing_grid_sync,
  missing_copy_wait,
  uninitialised_shared,
  shared_out_of_bounds,
  cluster_out_of_bounds,
  half_a_block_at_syncthreads,
  team_too_large,
  shuffle_from_nowhere,
};
constexpr const char* kNames[] = {"none",
                                  "missing_syncthreads",
                                  "missing_syncwarp",
                                  "missing_cluster_sync",
                                  "missing_last_cluster_sync",
                                  "missing_team_sync",
                                  "missing_grid_sync",
                                  "missing_copy_wait",
                                  "uninitialised_shared",
                                  "shared_out_of_bounds",
                                  "cluster_out_of_bounds",
                                  "half_a_block_at_syncthreads",
                                  "team_too_large",
                                  "shuffle_from_nowhere"};

constexpr int kThreads = 64, kBlocks = 4, kSteps = 3;

// Every block sums what all blocks of its cluster hold, step after step.
__global__ void cluster_sums(Bug bug, const float* in, float* out) {
  DRAWGAN_DYNAMIC_SHARED(memory);
  float* values = reinterpret_cast<float*>(memory);  // [kThreads]
  float* sums = values + kThreads;                   // [1]
  const unsigned t = threadIdx.x;
  values[t] = in[blockIdx.x * kThreads + t];  // here: missing_cluster_sync
  for (int step = 0; step < kSteps; step++) {
    if (bug != Bug::missing_cluster_sync) cluster_sync();
    const unsigned at = bug == Bug::cluster_out_of_bounds ? t + kThreads : t;
    float sum = 0;
    for (unsigned rank = 0; rank < cluster_size(); rank++) {
      const float* other = on_block(values, rank);
      sum += other[at];  // here: missing_cluster_sync, cluster_out_of_bounds
    }
    if (bug == Bug::shuffle_from_nowhere && t < 16) sum += __shfl_sync(0xffffu, sum, 20);
    for (int o = 16; o > 0; o /= 2) sum += __shfl_xor_sync(~0u, sum, o);
    const int slot = bug == Bug::shared_out_of_bounds ? 1 : 0;
    if (t == 0) sums[slot] = sum;  // here: shared_out_of_bounds
    cluster_sync();
    const float next = 0.5f * values[(t + 1) % kThreads];  // here: missing_syncthreads
    if (bug != Bug::missing_syncthreads) __syncthreads();
    values[t] = next;  // here: missing_syncthreads, missing_cluster_sync
    if (t == 0) out[step * kBlocks + blockIdx.x] = sums[0];
    if (bug == Bug::half_a_block_at_syncthreads && t < 32) __syncthreads();
  }
  if (bug == Bug::missing_last_cluster_sync && blockIdx.x == 0 && t == 0)
    out[0] += on_block(sums, 1)[0];
}

// Blocks hand rows to each other through global memory.
__global__ void team_rows(Bug bug, float* rows, unsigned* counter) {
  DRAWGAN_DYNAMIC_SHARED(memory);
  float* values = reinterpret_cast<float*>(memory);  // [kThreads]
  const unsigned t = threadIdx.x;
  for (int step = 0; step < kSteps; step++) {
    const float* from = rows + (step * kBlocks + (blockIdx.x + 1) % kBlocks) * kThreads;
    float* to = rows + ((step + 1) * kBlocks + blockIdx.x) * kThreads;
    const float row = from[t];                              // here: missing_team_sync
    if (bug != Bug::uninitialised_shared) values[t] = row;  // here: missing_syncwarp
    if (bug != Bug::missing_syncwarp) __syncwarp();
    const float other = values[t ^ 1];  // here: missing_syncwarp
    __syncwarp();
    to[t] = other + 1.0f;  // here: missing_team_sync
    if (bug != Bug::missing_team_sync)
      team_sync(counter, bug == Bug::team_too_large ? kBlocks + 1 : kBlocks);
  }
}

__global__ void grid_rows(Bug bug, float* rows) {
  const unsigned t = threadIdx.x;
  for (int step = 0; step < kSteps; step++) {
    const float* from = rows + (step * kBlocks + (blockIdx.x + 1) % kBlocks) * kThreads;
    float* to = rows + ((step + 1) * kBlocks + blockIdx.x) * kThreads;
    to[t] = from[t ^ 1] + 1.0f;  // here: missing_grid_sync
    if (bug != Bug::missing_grid_sync) grid_sync();
  }
}

__global__ void copied(Bug bug, const float* in, float* out) {
  DRAWGAN_DYNAMIC_SHARED(memory);
  float* values = reinterpret_cast<float*>(memory);  // [4 kThreads]
  const unsigned t = threadIdx.x;
  copy_async_16(values + 4 * t, in + 4 * t);
  copy_async_commit();
  if (bug != Bug::missing_copy_wait) copy_async_wait<0>();
  __syncthreads();
  for (int part = 0; part < 4; part++) out[part * kThreads + t] = values[part * kThreads + t];
}

bool sums_are_right(std::vector<float> values, const std::vector<float>& sums) {
  bool right = true;
  for (int step = 0; step < kSteps; step++) {
    float expected = 0;
    for (int block = 0; block < kBlocks; block++)
      for (int t = 0; t < 32; t++) expected += values[block * kThreads + t];
    for (int block = 0; block < kBlocks; block++) right &= sums[step * kBlocks + block] == expected;
    const std::vector<float> old = values;
    for (int i = 0; i < kBlocks * kThreads; i++)
      values[i] = 0.5f * old[i / kThreads * kThreads + (i + 1) % kThreads];
  }
  return right;
}

bool rows_are_right(const std::vector<float>& rows) {
  bool right = true;
  for (int i = 0; i < kBlocks * kThreads; i++)
    right &= rows[kSteps * kBlocks * kThreads + i] ==
             static_cast<float>((i / kThreads + kSteps) % kBlocks * 2 + kSteps);
  return right;
}

bool run(Bug bug) {
  std::vector<float> in(kBlocks * kThreads), sums(kSteps * kBlocks), copies(4 * kThreads);
  for (std::size_t i = 0; i < in.size(); i++) in[i] = static_cast<float>(i % 17);
  launch("cluster_sums", cluster_sums,
         {kBlocks, kThreads, (kThreads + 1) * sizeof(float), kBlocks, false}, nullptr, bug,
         in.data(), sums.data());
  std::vector<float> rows((kSteps + 1) * kBlocks * kThreads, -1.0f);
  for (int i = 0; i < kBlocks * kThreads; i++) rows[i] = static_cast<float>(i / kThreads * 2);
  std::vector<float> same = rows;
  unsigned counter = 0;
  launch("team_rows", team_rows, {kBlocks, kThreads, kThreads * sizeof(float)}, nullptr, bug,
         rows.data(), &counter);
  launch("grid_rows", grid_rows, {kBlocks, kThreads, 0, 1, true}, nullptr, bug, same.data());
  launch("copied", copied, {1, kThreads, 4 * kThreads * sizeof(float)}, nullptr, bug, in.data(),
         copies.data());
  return sums_are_right(in, sums) && rows_are_right(rows) && rows_are_right(same) &&
         std::memcmp(copies.data(), in.data(), copies.size() * sizeof(float)) == 0;
}

}  // namespace
}  // namespace drawgan

int main(int count, char** arguments) {
  using namespace drawgan;
  const int schedule = count > 2 ? std::atoi(arguments[2]) : 0;
  emulation::options = {static_cast<emulation::Schedule>(schedule < 2 ? schedule : 2),
                        static_cast<unsigned>(schedule)};
  for (std::size_t bug = 0; bug < std::size(kNames); bug++) {
    if (count < 2 || std::strcmp(kNames[bug], arguments[1]) != 0) continue;
    try {
      std::puts(run(static_cast<Bug>(bug)) ? "right" : "wrong");
    } catch (const std::exception& error) {
      std::printf("error: %s\n", error.what());
    }
    return 0;
  }
  std::puts("no such bug");
  return 2;
}
