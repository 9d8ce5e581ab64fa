// What a block has of the recurrence, forward and backward: its shares, its tile of samples, and
// the helpers that both directions use.
#pragma once

#include "attention_write.cuh"
#include "draw_scan.h"
#include "product.cuh"
#include "team.cuh"

namespace drawgan::cuda {

// Samples that a team carries at a time: images, or prior samples, which have no encoder.
struct SampleTile {
  bool prior;
  int64_t first;  // of all samples
  int count;      // of at most plan.rows()
};

__device__ inline int64_t tiles_of(const DrawCall& call) {
  const int rows = call.plan.rows();
  return (call.images + rows - 1) / rows + (call.all - call.images + rows - 1) / rows;
}

__device__ inline SampleTile tile_of(const DrawCall& call, int64_t index) {
  const int rows = call.plan.rows();
  const int64_t of_images = (call.images + rows - 1) / rows;
  const bool prior = index >= of_images;
  const int64_t first = prior ? call.images + (index - of_images) * rows : index * rows;
  const int64_t left = (prior ? call.all : call.images) - first;
  return {prior, first, left < rows ? static_cast<int>(left) : rows};
}

template <class E, class Team>
struct DrawBlock {
  const DrawPlan& p;
  const DrawCall& call;
  unsigned char* shared;
  Team team;
  Share units, latents, numbers, samples;
  SampleTile tile{};

  __device__ DrawBlock(const DrawCall& c, unsigned char* memory, int board)
      : p(c.plan), call(c), shared(memory), team(c.plan, memory + board, c.board, c.counters) {
    const int rank = team.rank();
    units = p.units(rank);
    latents = p.latents(rank);
    numbers = p.numbers(rank);
    samples = share(p.rows(), rank, team.size());
  }

  // Where this block's weights stand: one after another, in shared memory or in its part of what
  // the first team lays out for all.
  struct Placed {
    E* of[kMatrices];
    bool filled_here[kMatrices];
  };
  __device__ Placed place(const MatrixBytes& bytes, unsigned resident, int offset) const {
    unsigned char* inside = shared + offset;
    unsigned char* outside = static_cast<unsigned char*>(call.streamed);
    if (Team::kStreams) outside += team.rank() * p.streamed_bytes;
    Placed placed;
#pragma unroll
    for (int matrix = 0; matrix < kMatrices; matrix++) {
      const bool in = !Team::kStreams || (resident >> matrix & 1u);
      unsigned char*& from = in ? inside : outside;
      placed.of[matrix] = reinterpret_cast<E*>(from);
      placed.filled_here[matrix] = in || team.index() == 0;
      from += bytes.of[matrix];
    }
    return placed;
  }

  template <class T>
  __device__ T* at(int offset) const {
    return reinterpret_cast<T*>(shared + offset);
  }

  __device__ int thread() const { return static_cast<int>(threadIdx.x); }
  __device__ int threads() const { return static_cast<int>(blockDim.x); }

  // A sample's row of an array [.., all or B, width] at step t.
  __device__ int64_t row_at(int t, int64_t samples_of, int row, int width) const {
    return (t * samples_of + tile.first + row) * width;
  }

  template <class T>
  __device__ void zero(T* from, int count) const {
    for (int i = thread(); i < count; i += threads()) from[i] = T{};
  }

  // Publishes this block's blocks of a segment [tiles, blocks] of the board, and waits for those of
  // the others. Starts with a barrier of the block.
  __device__ void exchange(E* segment, int blocks, Share mine) {
    __syncthreads();
    for (int i = 0; i < p.tiles; i++)
      team.publish(segment + (i * blocks + mine.first) * kLeft,
                   mine.count * kLeft * static_cast<int>(sizeof(E)));
    team.sync();
    team.take(segment, p.tiles * blocks * kLeft * static_cast<int>(sizeof(E)));
    team.taken();
  }

  template <class Source>
  __device__ void fill(const Placed& weights, Weights matrix, int operands, int count,
                       const Source& source) const {
    if (weights.filled_here[matrix]) load_weights(weights.of[matrix], operands, count, source);
  }

  // The element of a segment [tiles, blocks] at (row of the team's tile, k).
  __device__ E* element(E* segment, int blocks, int row, int k) const {
    return segment + ((row / kRows) * blocks + k / kTile) * kLeft +
           Fragments<E>::left(row % kRows, k % kTile);
  }

  // Runs work(group, i, scratch) for each of this block's samples that is there.
  template <class Work>
  __device__ void for_samples(float* scratch, const Work& work) const {
    const BlockOrWarp group{p.by_warps};
    const int mine = p.by_warps ? thread() >> 5 : 0, groups = p.by_warps ? threads() >> 5 : 1;
    for (int i = mine; i < samples.count; i += groups)
      if (samples.first + i < tile.count) work(group, i, scratch + mine * p.attention_floats);
  }
};

// Neighbours in a matrix, from `first` on; none where there is nothing.
struct Span {
  int first, count;
};

// Weight [out, in] of E as a right operand's columns.
template <class E>
struct Matrix {
  const E* weights;
  int outs, ins;
  // k runs along the inputs of one output, forward; along the outputs of one input, backward.
  __device__ Run<E> along_inputs(int out, Span in) const {
    return {at(out, in.first), 1, out < outs ? in.count : 0};
  }
  __device__ Run<E> along_outputs(Span out, int in) const {
    return {at(out.first, in), ins, in >= 0 && in < ins ? out.count : 0};
  }
  __device__ const E* at(int out, int in) const {
    return weights + static_cast<int64_t>(out) * ins + in;
  }
};

// Block of k of `total` numbers that start at `offset` of a row.
__device__ inline Span span_of(int block, int total, int offset) {
  return {offset + block * kTile, total - block * kTile};
}

// Columns of the encoder's matrix for a block of its operand [glimpses | h_enc | h_dec].
__device__ inline Span encoder_columns(const DrawPlan& p, int block) {
  const int glimpses = p.glimpse_blocks(), units = p.unit_blocks();
  const DrawSizes& s = p.sizes;
  if (block < glimpses) return span_of(block, s.glimpses(), 0);
  block -= glimpses;
  if (block < units) return span_of(block, s.hidden, s.h_enc());
  return span_of(block - units, s.hidden, s.h_dec());
}

// The same of the decoder's [h_dec | z].
__device__ inline Span decoder_columns(const DrawPlan& p, int block) {
  const int units = p.unit_blocks(), K = p.sizes.hidden;
  return block < units ? span_of(block, K, 0) : span_of(block - units, p.sizes.latent, K);
}

// --------------------------------------------------------------------------------------- the host

constexpr int kMaxThreads = 256;  // of a block

// A kernel of one direction, and its name and shared memory in a plan.
template <class Call>
struct DrawKernel {
  const char* name;
  void (*kernel)(Call, Convention, Convention);
  int shared_bytes;

  LaunchShape shape(const DrawPlan& plan) const {
    const bool cluster = plan.kind == TeamKind::cluster;
    return {dim3(static_cast<unsigned>(plan.teams * plan.team)),
            dim3(static_cast<unsigned>(plan.threads)), static_cast<size_t>(shared_bytes),
            cluster ? plan.team : 1, !cluster};
  }

  // Teams that the device runs at once.
  int resident(const DrawPlan& plan) const {
    if (plan.kind == TeamKind::cluster) return max_resident_clusters(name, kernel, shape(plan));
    return max_resident_blocks(name, kernel, shape(plan)) / plan.team;
  }

  void run(const Call& call, cudaStream_t stream) const {
    launch(name, kernel, shape(call.call.plan), stream, call, convention(call.call.read),
           convention(call.call.write));
  }
};

}  // namespace drawgan::cuda
