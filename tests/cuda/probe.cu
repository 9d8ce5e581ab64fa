// What the emulation gives a warp and how numbers are rounded, for the tests to look at: each
// function runs one small kernel over plain arrays.
#include "math.cuh"
#include "platform.h"

namespace drawgan {
namespace {

// a [16][16], b [16][8] as bfloat16 bits, d [16][8]; fragments by the PTX manual's formulas.
__global__ void product(const uint16_t* a, const uint16_t* b, float* d) {
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, k = lane % 4 * 2;
  const auto pair = [](uint16_t low, uint16_t high) {
    return low | static_cast<uint32_t>(high) << 16;
  };
  uint32_t left[4], right[2];
  for (int i = 0; i < 8; i += 2) {  // the manual numbers elements; two make a register
    const int row = i < 2 || (i >= 4 && i < 6) ? g : g + 8, column = k + (i >= 4 ? 8 : 0);
    left[i / 2] = pair(a[row * 16 + column], a[row * 16 + column + 1]);
  }
  for (int i = 0; i < 4; i += 2) {
    const int row = k + (i >= 2 ? 8 : 0);
    right[i / 2] = pair(b[row * 8 + g], b[(row + 1) * 8 + g]);
  }
  float sums[4];
  for (int i = 0; i < 4; i++) sums[i] = d[(g + (i >= 2 ? 8 : 0)) * 8 + k + i % 2];
  mma_bf16(sums, left, right);
  for (int i = 0; i < 4; i++) d[(g + (i >= 2 ? 8 : 0)) * 8 + k + i % 2] = sums[i];
}

// The same product, its left side fetched by load_matrices from a row-major [16][16] tile.
__global__ void loaded_product(const uint16_t* a, const uint16_t* b, float* d) {
  DRAWGAN_DYNAMIC_SHARED(memory);
  auto* tile = reinterpret_cast<uint16_t*>(memory);  // [16][16]
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, k = lane % 4 * 2;
  for (int i = lane; i < 256; i += 32) tile[i] = a[i];
  __syncwarp();
  uint32_t left[4], right[2];
  load_matrices(left, tile + lane % 16 * 16 + lane / 16 * 8);
  for (int part = 0; part < 2; part++)
    right[part] = b[(k + part * 8) * 8 + g] | static_cast<uint32_t>(b[(k + part * 8 + 1) * 8 + g])
                                                  << 16;
  float sums[4] = {};
  mma_bf16(sums, left, right);
  for (int i = 0; i < 4; i++) d[(g + i / 2 * 8) * 8 + k + i % 2] = sums[i];
}

// out [6][threads]
__global__ void warp_operations(const int* in, int* out) {
  const int t = static_cast<int>(threadIdx.x), n = static_cast<int>(blockDim.x);
  const int value = in[t];
  out[t] = __shfl_xor_sync(~0u, value, 5);
  out[n + t] = __shfl_down_sync(~0u, value, 3u);
  out[2 * n + t] = __shfl_up_sync(~0u, value, 3u, 8);
  out[3 * n + t] = __shfl_sync(~0u, value, 2, 16);
  out[4 * n + t] = static_cast<int>(__ballot_sync(~0u, value % 3 == 0));
  out[5 * n + t] = __syncthreads_count(value % 2);
  if (t % 32 < 8) out[t] += __shfl_sync(0xffu, value, 7);  // others take no part
}

__global__ void round_trip(const float* in, uint16_t* bfloat16, uint16_t* float16, float* back,
                           int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= count) return;
  bfloat16[i] = from_float<bf16>(in[i]).bits;
  float16[i] = from_float<fp16>(in[i]).bits;
  back[2 * i] = to_float(bf16{bfloat16[i]});
  back[2 * i + 1] = to_float(fp16{float16[i]});
}

// Every block, in clusters or not, counts itself; a team of all of them meets in between.
__global__ void meeting(unsigned* counters) {
  if (threadIdx.x == 0) add_release(&counters[1], 1);
  team_sync(&counters[0], gridDim.x);
  if (threadIdx.x == 0 && counters[1] != gridDim.x) add_release(&counters[2], 1);
}

__global__ void activations(const float* in, float* out, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= count) return;
  out[2 * i] = sigmoid(in[i]);
  out[2 * i + 1] = tanh_(in[i]);
}

}  // namespace
}  // namespace drawgan

extern "C" {
void probe_product(const uint16_t* a, const uint16_t* b, float* d) {
  drawgan::launch("product", drawgan::product, {1, 32}, nullptr, a, b, d);
}
void probe_loaded_product(const uint16_t* a, const uint16_t* b, float* d) {
  drawgan::launch("loaded_product", drawgan::loaded_product, {1, 32, 512}, nullptr, a, b, d);
}
void probe_warp_operations(const int* in, int* out, int threads) {
  drawgan::launch("warp_operations", drawgan::warp_operations, {1, static_cast<unsigned>(threads)},
                  nullptr, in, out);
}
void probe_round_trip(const float* in, uint16_t* bfloat16, uint16_t* float16, float* back,
                      int count) {
  drawgan::launch("round_trip", drawgan::round_trip,
                  {static_cast<unsigned>(count + 255) / 256, 256}, nullptr, in, bfloat16, float16,
                  back, count);
}
// The error of a launch, or an empty string; how many blocks or clusters it says would be resident.
const char* probe_launch(unsigned blocks, unsigned threads, std::size_t shared, int cluster,
                         bool cooperative, unsigned* counters, int* resident) {
  static std::string error;
  const drawgan::LaunchShape shape{blocks, threads, shared, cluster, cooperative};
  resident[0] = drawgan::max_resident_blocks("meeting", drawgan::meeting, shape);
  resident[1] = drawgan::max_resident_clusters("meeting", drawgan::meeting, shape);
  try {
    drawgan::launch("meeting", drawgan::meeting, shape, nullptr, counters);
    error.clear();
  } catch (const std::exception& caught) {
    error = caught.what();
  }
  return error.c_str();
}
void probe_device(int capability, std::size_t shared_bytes, int blocks, int clusters) {
  drawgan::emulation::device = {capability, shared_bytes, 132, blocks, clusters};
}
void probe_activations(const float* in, float* out, int count) {
  drawgan::launch("activations", drawgan::activations,
                  {static_cast<unsigned>(count + 255) / 256, 256}, nullptr, in, out, count);
}
}
