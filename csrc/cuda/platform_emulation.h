// platform.h on the CPU: the same names over the emulation (tests/support/cuda_on_cpu/).
#pragma once

#include <tuple>
#include <utility>

namespace drawgan {

inline DeviceLimits device_limits(const char*) {
  const emulation::Device& device = emulation::device;
  return {device.capability, device.shared_bytes, device.processors, "emulated"};
}

inline int max_blocks(const LaunchShape& shape) {
  if (!refusal(shape, device_limits("")).empty()) return 0;
  return static_cast<int>(emulation::resident_blocks(static_cast<unsigned>(shape.cluster)));
}

template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), const LaunchShape& shape, cudaStream_t,
            A&&... args) {
  const std::string refused = refusal(shape, device_limits(name));
  if (!refused.empty()) throw CudaError(std::string(name) + ": " + refused);
  const unsigned blocks = shape.grid.x * shape.grid.y * shape.grid.z;
  if (shape.cooperative && blocks > static_cast<unsigned>(max_blocks(shape)))
    throw CudaError(std::string(name) + ": launch: cudaErrorCooperativeLaunchTooLarge: too many " +
                    "blocks in cooperative launch");
  auto call = [kernel, values = std::tuple<P...>(std::forward<A>(args)...)] {
    std::apply(kernel, values);
  };
  emulation::launch(
      name,
      {shape.grid, shape.block, shape.shared_bytes, static_cast<unsigned>(shape.cluster),
       shape.cooperative},
      [](void* context) { (*static_cast<decltype(call)*>(context))(); }, &call);
}

template <class K>
int max_resident_clusters(const char*, K*, const LaunchShape& shape) {
  return max_blocks(shape) / shape.cluster;
}

template <class K>
int max_resident_blocks(const char*, K*, LaunchShape shape) {
  shape.cluster = 1;
  return max_blocks(shape);
}

#define DRAWGAN_DYNAMIC_SHARED(name) \
  unsigned char* const name = ::drawgan::emulation::dynamic_shared()

inline unsigned cluster_rank() { return emulation::cluster_rank(); }
inline unsigned cluster_size() { return emulation::cluster_size(); }
inline void cluster_arrive() { emulation::cluster_arrive(); }
inline void cluster_wait() { emulation::cluster_wait(); }
inline void cluster_sync() {
  emulation::cluster_arrive();
  emulation::cluster_wait();
}
template <class T>
T* on_block(T* shared, unsigned rank) {
  using Plain = std::remove_const_t<T>;
  return static_cast<T*>(emulation::on_block(const_cast<Plain*>(shared), rank));
}

inline void grid_sync() { emulation::grid_barrier(); }
inline unsigned add_release(unsigned* counter, unsigned value) {
  return emulation::add_release(counter, value);
}
inline void wait_at_least(const unsigned* counter, unsigned value) {
  emulation::wait_at_least(counter, value);
}

inline void mma_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  emulation::warp_mma_bf16(d, a, b);
}

// The thread reads and copies by itself, here, where the sanitizers can see it.
inline void load_matrices(std::uint32_t (&r)[4], const void* row) {
  std::uint32_t own[4];
  std::memcpy(own, __builtin_assume_aligned(row, 16), sizeof own);
  emulation::warp_load_matrices(r, own);
}

inline void copy_async_16(void* shared, const void* global) {
  emulation::copy_async(shared, global);
}
inline void copy_async_commit() { emulation::copy_async_commit(); }
template <int pending>
void copy_async_wait() {
  emulation::AsyncCopy copy;
  while (emulation::copy_async_due(pending, &copy))
    *static_cast<uint4*>(copy.shared) = *static_cast<const uint4*>(copy.global);
}

}  // namespace drawgan
