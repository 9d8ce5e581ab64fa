// Small kernels, right as they stand; each -DBUG=... takes away one thing that they need. A program
// of its own, so that a sanitizer may end it. The tests look for the line that a report names.
#include <cstdio>
#include <cstring>
#include <vector>

#include "platform.h"

#define BUG_MISSING_SYNCTHREADS 1
#define BUG_MISSING_SYNCWARP 2
#define BUG_MISSING_CLUSTER_SYNC 3
#define BUG_MISSING_LAST_CLUSTER_SYNC 4
#define BUG_MISSING_TEAM_SYNC 5
#define BUG_SHARED_OUT_OF_BOUNDS 6
#define BUG_CLUSTER_OUT_OF_BOUNDS 7
#define BUG_UNINITIALISED_SHARED 8
#define BUG_MISSING_COPY_WAIT 9
#define BUG_HALF_A_BLOCK_AT_SYNCTHREADS 10
#define BUG_TEAM_TOO_LARGE 11
#define BUG_MISSING_GRID_SYNC 12

#ifndef BUG
#define BUG 0
#endif

namespace drawgan {
namespace {

constexpr int kThreads = 64, kBlocks = 4, kSteps = 3;

// Every block sums what all blocks of its cluster hold, step after step.
__global__ void cluster_sums(const float* in, float* out) {
  DRAWGAN_DYNAMIC_SHARED(memory);
  float* values = reinterpret_cast<float*>(memory);  // [kThreads]
  float* sums = values + kThreads;                   // [1]
  const unsigned t = threadIdx.x;
  values[t] = in[blockIdx.x * kThreads + t];
  for (int step = 0; step < kSteps; step++) {
#if BUG != BUG_MISSING_CLUSTER_SYNC
    cluster_sync();
#endif
    float sum = 0;
    for (unsigned rank = 0; rank < cluster_size(); rank++)
      sum += on_block(values, rank)[BUG == BUG_CLUSTER_OUT_OF_BOUNDS ? t + kThreads : t];
    for (int o = 16; o > 0; o /= 2) sum += __shfl_xor_sync(~0u, sum, o);
    if (t == 0) sums[BUG == BUG_SHARED_OUT_OF_BOUNDS ? 1 : 0] = sum;
    cluster_sync();
#if BUG == BUG_MISSING_SYNCTHREADS
    values[t] = 0.5f * values[(t + 1) % kThreads];
#else
    const float next = 0.5f * values[(t + 1) % kThreads];
    __syncthreads();
    values[t] = next;
#endif
    if (t == 0) out[step * kBlocks + blockIdx.x] = sums[0];
#if BUG == BUG_HALF_A_BLOCK_AT_SYNCTHREADS
    if (t < 32) __syncthreads();
#endif
  }
#if BUG == BUG_MISSING_LAST_CLUSTER_SYNC
  if (blockIdx.x == 0 && t == 0) out[0] += on_block(sums, 1)[0];
#endif
}

// Blocks hand rows to each other through global memory.
__global__ void team_rows(float* rows, [[maybe_unused]] unsigned* counter) {
  DRAWGAN_DYNAMIC_SHARED(memory);
  float* values = reinterpret_cast<float*>(memory);  // [kThreads]
  const unsigned t = threadIdx.x;
  for (int step = 0; step < kSteps; step++) {
    [[maybe_unused]] const float* from = rows + step * kBlocks * kThreads;
    float* to = rows + (step + 1) * kBlocks * kThreads;
#if BUG != BUG_UNINITIALISED_SHARED
    values[t] = from[(blockIdx.x + 1) % kBlocks * kThreads + t];
#endif
#if BUG != BUG_MISSING_SYNCWARP
    __syncwarp();
#endif
    to[blockIdx.x * kThreads + t] = values[t ^ 1] + 1.0f;
    __syncwarp();
#if BUG != BUG_MISSING_TEAM_SYNC
    team_sync(counter, BUG == BUG_TEAM_TOO_LARGE ? kBlocks + 1 : kBlocks);
#endif
  }
}

__global__ void grid_rows(float* rows) {
  const unsigned t = threadIdx.x;
  for (int step = 0; step < kSteps; step++) {
    const float* from = rows + step * kBlocks * kThreads;
    float* to = rows + (step + 1) * kBlocks * kThreads;
    to[blockIdx.x * kThreads + t] = from[(blockIdx.x + 1) % kBlocks * kThreads + (t ^ 1)] + 1.0f;
#if BUG != BUG_MISSING_GRID_SYNC
    grid_sync();
#endif
  }
}

__global__ void copied(const float* in, float* out) {
  DRAWGAN_DYNAMIC_SHARED(memory);
  float* values = reinterpret_cast<float*>(memory);  // [4 kThreads]
  const unsigned t = threadIdx.x;
  copy_async_16(values + 4 * t, in + 4 * t);
  copy_async_commit();
#if BUG != BUG_MISSING_COPY_WAIT
  copy_async_wait<0>();
#endif
  __syncthreads();
  for (int part = 0; part < 4; part++) out[part * kThreads + t] = values[part * kThreads + t];
}

bool run() {
  std::vector<float> in(kBlocks * kThreads), sums(kSteps * kBlocks);
  for (std::size_t i = 0; i < in.size(); i++) in[i] = static_cast<float>(i % 17);
  launch("cluster_sums", cluster_sums,
         {kBlocks, kThreads, (kThreads + 1) * sizeof(float), kBlocks, false}, nullptr, in.data(),
         sums.data());
  bool right = true;
  std::vector<float> values = in;
  for (int step = 0; step < kSteps; step++) {
    float expected = 0;
    for (int block = 0; block < kBlocks; block++)
      for (int t = 0; t < 32; t++) expected += values[block * kThreads + t];
    for (int block = 0; block < kBlocks; block++) right &= sums[step * kBlocks + block] == expected;
    const std::vector<float> old = values;
    for (int i = 0; i < kBlocks * kThreads; i++)
      values[i] = 0.5f * old[i / kThreads * kThreads + (i + 1) % kThreads];
  }

  std::vector<float> rows((kSteps + 1) * kBlocks * kThreads, -1.0f);
  for (int i = 0; i < kBlocks * kThreads; i++) rows[i] = static_cast<float>(i / kThreads * 2);
  std::vector<float> same = rows;
  unsigned counter = 0;
  launch("team_rows", team_rows, {kBlocks, kThreads, kThreads * sizeof(float)}, nullptr,
         rows.data(), &counter);
  launch("grid_rows", grid_rows, {kBlocks, kThreads, 0, 1, true}, nullptr, same.data());
  for (int block = 0; block < kBlocks; block++) {
    const float expected = static_cast<float>((block + kSteps) % kBlocks * 2 + kSteps);
    right &= rows[(kSteps * kBlocks + block) * kThreads] == expected;
  }
  right &= rows == same;

  std::vector<float> copies(4 * kThreads);
  launch("copied", copied, {1, kThreads, 4 * kThreads * sizeof(float)}, nullptr, in.data(),
         copies.data());
  right &= std::memcmp(copies.data(), in.data(), copies.size() * sizeof(float)) == 0;
  return right;
}

}  // namespace
}  // namespace drawgan

// The argument is a schedule: 0 forward, 1 reverse, 2 and more random with that seed.
int main(int count, char** arguments) {
  const int schedule = count > 1 ? std::atoi(arguments[1]) : 0;
  drawgan::emulation::options.schedule =
      static_cast<drawgan::emulation::Schedule>(schedule < 2 ? schedule : 2);
  drawgan::emulation::options.seed = static_cast<unsigned>(schedule);
  try {
    const bool right = drawgan::run();
    std::puts(right ? "right" : "wrong");
    return right ? 0 : 1;
  } catch (const std::exception& error) {
    std::printf("error: %s\n", error.what());
    return 2;
  }
}
