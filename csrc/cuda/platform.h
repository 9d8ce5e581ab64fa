// The only file that knows whether kernels are compiled for a GPU or for the emulation on the CPU
// (DRAWGAN_CUDA_EMULATION, tests/support/cuda_on_cpu/). Everything else in csrc/cuda/ is written
// against the names below, which mean the same in both.
//
// Host: LaunchShape, launch, max_resident_blocks, max_resident_clusters, device_limits.
// Device: DRAWGAN_DYNAMIC_SHARED, cluster_*, on_block, grid_sync, add_release, wait_at_least,
// team_sync, mma_bf16, copy_async_*, beside CUDA's own __syncthreads, __syncwarp and __shfl_*_sync.
// Kernels have no static __shared__ arrays: the emulation has no such thing.
#pragma once

#ifdef DRAWGAN_CUDA_EMULATION
#include "cuda_emulation.h"  // IWYU pragma: export
#else
#include <cuda_runtime.h>
#endif

#include "launch.h"

namespace drawgan {

struct LaunchShape {
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes = 0;  // dynamic shared memory of a block
  int cluster = 1;               // blocks of a cluster, along x
  bool cooperative = false;      // all blocks are resident together, so that they may wait
};

}  // namespace drawgan

#ifdef DRAWGAN_CUDA_EMULATION
#include "platform_emulation.h"  // IWYU pragma: export
#else
#include "platform_cuda.h"  // IWYU pragma: export
#endif

#if defined(DRAWGAN_CUDA_EMULATION) || defined(__CUDACC__)
#include "float_types.h"  // IWYU pragma: export

namespace drawgan {

// A barrier of `team_size` blocks that are resident together, over a counter in global memory that
// is 0 when the kernel starts and that nothing else changes. What any of their threads wrote before
// it, all see after it.
__device__ inline void team_sync(unsigned* counter, unsigned team_size) {
  __syncthreads();
  if (threadIdx.x == 0 && threadIdx.y == 0 && threadIdx.z == 0) {
    const unsigned before = add_release(counter, 1);
    wait_at_least(counter, (before / team_size + 1) * team_size);
  }
  __syncthreads();
}

}  // namespace drawgan
#endif
