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

// Matrices of weights. A block has its share of each; `resident` has a bit for those that it keeps
// in shared memory, the others are read from L2 at every step.
enum Weights : int { kEncoder, kDecoder, kPosterior, kProjection, kMatrices };
constexpr unsigned kAllResident = (1u << kMatrices) - 1;

struct MatrixBytes {
  int64_t of[kMatrices];
};

struct DrawPlan {
  DrawSizes sizes;
  TeamKind kind;
  int threads;           // of a block
  int team;              // blocks of a team
  int teams;             // that run at once
  int tiles;             // of 16 samples that a team carries together
  int element;           // bytes of an operand of products
  bool by_warps;         // a warp takes a sample's attention, not the block
  int attention_floats;  // of one group that works on a sample
  int64_t shared_bytes;
  int64_t board_bytes;     // of a team's board in global memory, where the team is not a cluster
  int64_t streamed_bytes;  // of one block's weights that are not resident

  // Bytes from the start of shared memory. The board is what blocks write for each other.
  struct Forward {
    unsigned resident;
    int weights, bias, board, glimpses, h_enc[2], h_dec[2], z, numbers, board_end;
    int c_enc, c_dec, kl, scratch, attention, canvas, end;
  } forward;
  struct Backward {
    unsigned resident;
    int weights, board, d_numbers, d_gates, d_posterior, d_glimpses, board_end;
    int d_h_enc, d_h_dec, d_c_enc, d_c_dec, scratch, attention, d_canvas, end;
  } backward;

  __host__ __device__ int rows() const { return tiles * kRows; }
  __host__ __device__ int glimpse_blocks() const { return blocks_of(sizes.glimpses()); }
  __host__ __device__ int unit_blocks() const { return blocks_of(sizes.hidden); }
  __host__ __device__ int latent_blocks() const { return blocks_of(sizes.latent); }
  __host__ __device__ int number_blocks() const { return blocks_of(sizes.projection()); }
  __host__ __device__ int samples() const { return largest_share(rows(), team); }

  __host__ __device__ Share units(int rank) const { return share(unit_blocks(), rank, team); }
  __host__ __device__ Share latents(int rank) const { return share(latent_blocks(), rank, team); }
  __host__ __device__ Share numbers(int rank) const { return share(number_blocks(), rank, team); }
  // Backward's glimpses, from the other end than the latents: few blocks have either.
  __host__ __device__ Share glimpses(int rank) const {
    return share(glimpse_blocks(), team - 1 - rank, team);
  }

  // One operand of 8 columns and `blocks` blocks of k, in bytes.
  __host__ __device__ int64_t operand(int blocks) const {
    return static_cast<int64_t>(blocks) * kWide * 8 * element;
  }
  __host__ __device__ MatrixBytes forward_weights(int rank) const {
    const int u = unit_blocks(), of_units = 8 * units(rank).count;  // two groups of four gates
    return {{of_units * operand(glimpse_blocks() + 2 * u), of_units * operand(u + latent_blocks()),
             4 * latents(rank).count * operand(u), 2 * numbers(rank).count * operand(u)}};
  }
  __host__ __device__ MatrixBytes backward_weights(int rank) const {
    const int64_t gates = operand(4 * unit_blocks());
    const int of_units = 2 * units(rank).count;
    return {{(2 * of_units + 2 * glimpses(rank).count) * gates,
             (of_units + 2 * latents(rank).count) * gates, of_units * operand(2 * latent_blocks()),
             of_units * operand(number_blocks())}};
  }
};

}  // namespace drawgan::cuda
