// What a kernel's launch asks for and what a device can give: the host side, the same for a GPU and
// for the emulation. A launch that the device would refuse is refused here, by name and number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace drawgan {

// A call to CUDA failed, or would fail; names the kernel.
class CudaError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct DeviceLimits {
  int capability = 0;            // 10 * major + minor
  std::size_t shared_bytes = 0;  // of a block, when a kernel asks for more than the usual 48 KiB
  int processors = 0;            // streaming multiprocessors
  std::string name;
};

constexpr unsigned kMaxThreadsPerBlock = 1024;
constexpr int kPortableCluster = 8;  // larger ones, up to kLargestCluster, are asked for by name
constexpr int kLargestCluster = 16;
constexpr std::size_t kUsualSharedBytes = 48 * 1024;  // more must be asked for

// Why this device cannot run such a launch at all, or an empty string. Shape is a LaunchShape,
// which needs CUDA's dim3.
template <class Shape>
std::string refusal(const Shape& shape, const DeviceLimits& device) {
  const auto says = [](const char* what, std::uint64_t asked, std::uint64_t limit) {
    return std::string(what) + ": " + std::to_string(asked) + " asked for, the limit is " +
           std::to_string(limit);
  };
  const std::uint64_t threads =
      std::uint64_t{shape.block.x} * std::uint64_t{shape.block.y} * std::uint64_t{shape.block.z};
  if (threads == 0 || shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0)
    return "an empty grid or block";
  if (threads > kMaxThreadsPerBlock)
    return says("threads of a block", threads, kMaxThreadsPerBlock);
  if (shape.grid.x > 0x7fffffffu) return says("blocks along x", shape.grid.x, 0x7fffffffu);
  if (shape.grid.y > 0xffffu) return says("blocks along y", shape.grid.y, 0xffffu);
  if (shape.grid.z > 0xffffu) return says("blocks along z", shape.grid.z, 0xffffu);
  if (shape.shared_bytes > device.shared_bytes)
    return says("bytes of shared memory of a block", shape.shared_bytes, device.shared_bytes);
  if (shape.cluster < 1 || shape.cluster > kLargestCluster)
    return says("blocks of a cluster", static_cast<std::uint64_t>(shape.cluster), kLargestCluster);
  if (shape.cluster > 1 && device.capability < 90)
    return "clusters of blocks need compute capability 9.0, this device (" + device.name +
           ") has " + std::to_string(device.capability / 10) + "." +
           std::to_string(device.capability % 10);
  if (shape.grid.x % static_cast<unsigned>(shape.cluster) != 0)
    return "the grid's " + std::to_string(shape.grid.x) + " blocks along x do not make whole " +
           "clusters of " + std::to_string(shape.cluster);
  return "";
}

}  // namespace drawgan
