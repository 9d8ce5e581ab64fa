// How the recurrence is laid out on a chip: which blocks hold which weights, and what stands where
// in their shared memory. Host and device read the same plan.
//
// A team of blocks carries a tile of samples through all steps. Each block keeps the weights of its
// share of the units, latents and projected numbers, and a board with everything that products
// take.
#pragma once

#include <cstdint>

#include "platform.h"

namespace drawgan::cuda {

constexpr int kRows = 16;  // samples per tile of a product
constexpr int kWide = 16;  // units, latents or numbers that a block owns together

struct DrawSizes {  // of a network
  int channels, height, width, read_N, write_N, hidden, latent;
  __host__ __device__ int pixels() const { return channels * height * width; }
  __host__ __device__ int glimpses() const { return 2 * channels * read_N * read_N; }
  __host__ __device__ int patch() const { return channels * write_N * write_N; }
  __host__ __device__ int projection() const { return patch() + 10; }  // and two windows
  // A row [glimpses | h_enc | h_dec | z], parts at multiples of 8
  __host__ __device__ int h_enc() const { return (glimpses() + 7) / 8 * 8; }
  __host__ __device__ int h_dec() const { return h_enc() + hidden; }
  __host__ __device__ int z() const { return h_dec() + hidden; }
  __host__ __device__ int row() const { return (z() + latent + 7) / 8 * 8; }
};

__host__ __device__ inline int blocks_of(int count) { return (count + kWide - 1) / kWide; }

// What one of `size` blocks owns of `total`.
struct Share {
  int first, count;
};
__host__ __device__ inline Share share(int total, int rank, int size) {
  const int first = total * rank / size;
  return {first, total * (rank + 1) / size - first};
}
__host__ __device__ inline int largest_share(int total, int size) {
  return (total + size - 1) / size;
}
// Who owns an item: the last block whose share starts at it or before.
__host__ __device__ inline int owner(int item, int total, int size) {
  return ((item + 1) * size - 1) / total;
}

enum class TeamKind : int { cluster, grid };

struct DrawPlan {
  DrawSizes sizes;
  TeamKind kind;
  int threads;    // of a block
  int team;       // blocks of a team
  int teams;      // that run at once
  int tiles;      // of 16 samples that a team carries together
  bool by_warps;  // a warp takes a sample's attention, not the block
  int64_t shared_bytes;
  int64_t global_bytes;  // of a team: its board, where the team is not a cluster

  // Bytes from the start of shared memory. The board is what blocks write for each other.
  struct Forward {
    int enc, posterior, dec, projection, bias;  // weights
    int board, glimpses, h_enc[2], h_dec[2], z, numbers, board_end;
    int c_enc, c_dec, kl, scratch, attention, canvas, end;
  } forward;
  struct Backward {
    int enc, posterior, dec, projection;  // weights, transposed
    int board, d_numbers, d_gates, d_posterior, d_glimpses, board_end;
    int d_h_enc, d_h_dec, d_c_enc, d_c_dec, scratch, attention, d_canvas, end;
  } backward;
  int attention_floats;  // of one group that works on a sample

  __host__ __device__ int rows() const { return tiles * kRows; }
  __host__ __device__ int glimpse_blocks() const { return blocks_of(sizes.glimpses()); }
  __host__ __device__ int unit_blocks() const { return blocks_of(sizes.hidden); }
  __host__ __device__ int latent_blocks() const { return blocks_of(sizes.latent); }
  __host__ __device__ int number_blocks() const { return blocks_of(sizes.projection()); }
  __host__ __device__ int samples() const { return largest_share(rows(), team); }
};

}  // namespace drawgan::cuda
