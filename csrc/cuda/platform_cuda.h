// platform.h on a GPU. Host calls are checked one by one: an error names the kernel.
#pragma once

#include <mutex>
#include <tuple>
#include <utility>
#include <vector>

#ifdef __CUDACC__
#include <cooperative_groups.h>
#endif

namespace drawgan {

inline void check(cudaError_t status, const char* kernel, const char* doing) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // it is reported here, and not a second time by the next call
  throw CudaError(std::string(kernel) + ": " + doing + ": " + cudaGetErrorName(status) + ": " +
                  cudaGetErrorString(status));
}

// Of the current device, asked once a device.
inline DeviceLimits device_limits(const char* kernel) {
  static std::mutex mutex;
  static std::vector<DeviceLimits> known;
  int device = 0;
  check(cudaGetDevice(&device), kernel, "asking for the device");
  const std::lock_guard lock(mutex);
  if (known.size() <= static_cast<std::size_t>(device)) known.resize(device + 1);
  DeviceLimits& limits = known[device];
  if (limits.capability == 0) {
    const auto ask = [&](cudaDeviceAttr attribute) {
      int value = 0;
      check(cudaDeviceGetAttribute(&value, attribute, device), kernel, "asking for its limits");
      return value;
    };
    cudaDeviceProp properties;
    check(cudaGetDeviceProperties(&properties, device), kernel, "asking for its name");
    limits.name = properties.name;
    limits.shared_bytes = ask(cudaDevAttrMaxSharedMemoryPerBlockOptin);
    limits.processors = ask(cudaDevAttrMultiProcessorCount);
    limits.capability =
        10 * ask(cudaDevAttrComputeCapabilityMajor) + ask(cudaDevAttrComputeCapabilityMinor);
  }
  return limits;
}

// The shape in CUDA's words; refers to itself, so it stays where it is.
class LaunchConfig {
 public:
  LaunchConfig(const LaunchShape& shape, cudaStream_t stream) {
    if (shape.cluster > 1) {
      attributes_[count_].id = cudaLaunchAttributeClusterDimension;
      attributes_[count_].val.clusterDim.x = static_cast<unsigned>(shape.cluster);
      attributes_[count_].val.clusterDim.y = 1;
      attributes_[count_++].val.clusterDim.z = 1;
    }
    if (shape.cooperative) {
      attributes_[count_].id = cudaLaunchAttributeCooperative;
      attributes_[count_++].val.cooperative = 1;
    }
    config_.gridDim = shape.grid;
    config_.blockDim = shape.block;
    config_.dynamicSmemBytes = shape.shared_bytes;
    config_.stream = stream;
    config_.attrs = attributes_;
    config_.numAttrs = count_;
  }
  LaunchConfig(const LaunchConfig&) = delete;
  LaunchConfig& operator=(const LaunchConfig&) = delete;
  const cudaLaunchConfig_t* get() const { return &config_; }

 private:
  cudaLaunchConfig_t config_ = {};
  cudaLaunchAttribute attributes_[2] = {};
  unsigned count_ = 0;
};

// Asks for what a kernel may not have unasked.
inline void allow(const char* name, const void* kernel, const LaunchShape& shape) {
  if (shape.shared_bytes > kUsualSharedBytes)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shape.shared_bytes)),
          name, "asking for shared memory");
  if (shape.cluster > kPortableCluster)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1), name,
          "asking for a large cluster");
}

template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), const LaunchShape& shape, cudaStream_t stream,
            A&&... args) {
  const std::string refused = refusal(shape, device_limits(name));
  if (!refused.empty()) throw CudaError(std::string(name) + ": " + refused);
  const void* function = reinterpret_cast<const void*>(kernel);
  allow(name, function, shape);
  const LaunchConfig config(shape, stream);
  std::tuple<P...> values(std::forward<A>(args)...);
  std::apply(
      [&](auto&... value) {
        void* addresses[] = {&value..., nullptr};
        check(cudaLaunchKernelExC(config.get(), function, addresses), name, "launch");
      },
      values);
}

// How many clusters of this shape the whole device runs at once; 0: not one fits.
template <class K>
int max_resident_clusters(const char* name, K* kernel, const LaunchShape& shape) {
  if (!refusal(shape, device_limits(name)).empty()) return 0;
  const void* function = reinterpret_cast<const void*>(kernel);
  allow(name, function, shape);
  const LaunchConfig config(shape, nullptr);
  int clusters = 0;
  const cudaError_t status = cudaOccupancyMaxActiveClusters(&clusters, function, config.get());
  if (status == cudaErrorInvalidClusterSize) {  // larger than this device's largest
    cudaGetLastError();
    return 0;
  }
  check(status, name, "asking how many clusters fit");
  return clusters;
}

// How many blocks of this shape (its cluster aside) the whole device runs at once.
template <class K>
int max_resident_blocks(const char* name, K* kernel, LaunchShape shape) {
  shape.cluster = 1;
  const DeviceLimits limits = device_limits(name);
  if (!refusal(shape, limits).empty()) return 0;
  const void* function = reinterpret_cast<const void*>(kernel);
  allow(name, function, shape);
  int blocks = 0;
  const int threads = static_cast<int>(shape.block.x * shape.block.y * shape.block.z);
  check(
      cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, function, threads, shape.shared_bytes),
      name, "asking how many blocks fit");
  return blocks * limits.processors;
}

#ifdef __CUDACC__

// ------------------------------------------------------------------------------------ on the
// device

// unsigned char* name: the block's dynamic shared memory.
#define DRAWGAN_DYNAMIC_SHARED(name)                                       \
  extern __shared__ __align__(128) unsigned char drawgan_dynamic_shared[]; \
  unsigned char* const name = drawgan_dynamic_shared

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
// No clusters: every block is one by itself.
__device__ inline unsigned cluster_rank() { return 0; }
__device__ inline unsigned cluster_size() { return 1; }
__device__ inline void cluster_arrive() {}
__device__ inline void cluster_wait() { __syncthreads(); }
template <class T>
__device__ inline T* on_block(T* shared, unsigned) {
  return shared;
}
#else
__device__ inline unsigned cluster_rank() {
  unsigned rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

__device__ inline unsigned cluster_size() {
  unsigned size;
  asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
  return size;
}

// The two halves of a barrier of all threads of the cluster: what was written before any arrive is
// seen after every wait. As for __syncthreads, the threads of a warp come together.
__device__ inline void cluster_arrive() {
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}

__device__ inline void cluster_wait() {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// The address of the same shared variable in another block of the cluster.
template <class T>
__device__ inline T* on_block(T* shared, unsigned rank) {
  T* there;
  asm("mapa.u64 %0, %1, %2;" : "=l"(there) : "l"(shared), "r"(rank));
  return there;
}
#endif

__device__ inline void cluster_sync() {
  cluster_arrive();
  cluster_wait();
}

// A barrier of all blocks of a cooperative launch.
__device__ inline void grid_sync() { cooperative_groups::this_grid().sync(); }

// Adds to a counter in global memory and returns what it was. What this thread wrote or, through a
// barrier, saw written before is seen by who waits for the sum.
__device__ inline unsigned add_release(unsigned* counter, unsigned value) {
  unsigned before;
  asm volatile("atom.add.release.gpu.global.u32 %0, [%1], %2;"
               : "=r"(before)
               : "l"(__cvta_generic_to_global(counter)), "r"(value)
               : "memory");
  return before;
}

__device__ inline void wait_at_least(const unsigned* counter, unsigned value) {
  unsigned now;
  do {
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];"
                 : "=r"(now)
                 : "l"(__cvta_generic_to_global(counter))
                 : "memory");
  } while (now < value);
}

// d += a · b on a tensor core, 16×16 times 16×8, one warp. With g = lane / 4 and k = 2 (lane % 4):
// a[0..3] hold rows g, g + 8, g, g + 8 at columns k, k, k + 8, k + 8, b[0..1] rows k, k + 8 of
// column g, each a pair (lower column or row in the low half); d[0..3] = [g][k], [g][k+1],
// [g+8][k], [g+8][k+1].
__device__ inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
      "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Four 8×8 matrices of 16-bit numbers from shared memory into mma's fragments: lane l gives the
// address of row l % 8 (16 bytes, aligned) of matrix l / 8 and gets, of each matrix, the pair at
// row lane / 4, column 2 (lane % 4).
__device__ inline void load_matrices(uint32_t (&r)[4], const void* row) {
  const auto at = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(at)
               : "memory");
}

// 16 bytes from global to shared memory behind the thread's back: there after a copy_async_wait,
// for other threads after a barrier too. Waiting leaves the last `pending` commits in flight.
__device__ inline void copy_async_16(void* shared, const void* global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(
                   static_cast<uint32_t>(__cvta_generic_to_shared(shared))),
               "l"(__cvta_generic_to_global(global))
               : "memory");
}
__device__ inline void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int pending>
__device__ inline void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

#endif  // __CUDACC__

}  // namespace drawgan
