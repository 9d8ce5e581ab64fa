// The recurrence, forward: one launch carries every tile of samples through all steps. docs/cuda.md
// draws what goes where.
#include "draw_block.cuh"
#include "lstm.cuh"

namespace drawgan::cuda {
namespace {

template <class E, class Team>
struct Forward : DrawBlock<E, Team> {
  using Base = DrawBlock<E, Team>;
  using Base::call, Base::element, Base::exchange, Base::fill, Base::latents, Base::numbers,
      Base::p;
  using Base::row_at, Base::samples, Base::team, Base::thread, Base::threads, Base::tile;
  using Base::units, Base::zero;

  const DrawForwardCall& f;
  const Convention& read_map;
  const Convention& write_map;
  const DrawPlan::Forward& o;
  typename Base::Placed weights{};

  __device__ Forward(const DrawForwardCall& forward, const Convention& read,
                     const Convention& write, unsigned char* memory)
      : Base(forward.call, memory, forward.call.plan.forward.board),
        f(forward),
        read_map(read),
        write_map(write),
        o(forward.call.plan.forward) {}

  __device__ float* floats(int offset) const { return this->template at<float>(offset); }
  __device__ E* elements(int offset) const { return this->template at<E>(offset); }

  // ---------------------------------------------------------------------------- once a launch

  __device__ void load() {
    weights = this->place(p.forward_weights(team.rank()), o.resident, o.weights);
    const DrawSizes& s = p.sizes;
    const int K = s.hidden, Z = s.latent, unit0 = units.first * kWide;
    const DrawWeights& w = call.weights;
    const Matrix<E> enc{static_cast<const E*>(w.enc), 4 * K, s.z()};
    const Matrix<E> dec{static_cast<const E*>(w.dec), 4 * K, K + Z};
    const Matrix<E> posterior{static_cast<const E*>(w.posterior), 2 * Z, K};
    const Matrix<E> projection{static_cast<const E*>(w.projection), s.projection(), K};
    // Of an LSTM, right operands are [8 units, gate]: a thread has all gates of its units.
    const auto gate_row = [&](int operand, int column) {
      const int unit = unit0 + operand / 4 * kColumns + column;
      return unit < K ? operand % 4 * K + unit : 4 * K;
    };
    fill(weights, kEncoder, units.count * 8, encoder_blocks(),
         [&](int operand, int block, int column) {
           return enc.along_inputs(gate_row(operand, column), encoder_columns(p, block));
         });
    fill(weights, kDecoder, units.count * 8, p.unit_blocks() + p.latent_blocks(),
         [&](int operand, int block, int column) {
           return dec.along_inputs(gate_row(operand, column), decoder_columns(p, block));
         });
    fill(weights, kPosterior, latents.count * 4, p.unit_blocks(),
         [&](int operand, int block, int column) {  // [8 latents, mu and log sigma]
           const int z = latents.first * kWide + operand / 2 * kColumns + column;
           return posterior.along_inputs(z < Z ? operand % 2 * Z + z : 2 * Z, span_of(block, K, 0));
         });
    fill(weights, kProjection, numbers.count * 2, p.unit_blocks(),
         [&](int operand, int block, int column) {
           const int number = numbers.first * kWide + operand * kColumns + column;
           return projection.along_inputs(number, span_of(block, K, 0));
         });
    load_bias();
    team.sync_teams();
  }

  __device__ int encoder_blocks() const { return p.glimpse_blocks() + 2 * p.unit_blocks(); }

  // Biases: [4, own units] of both LSTMs, [2, own latents], [own numbers].
  __device__ float* enc_bias() const { return floats(o.bias); }
  __device__ float* dec_bias() const { return enc_bias() + 4 * units.count * kWide; }
  __device__ float* posterior_bias() const { return dec_bias() + 4 * units.count * kWide; }
  __device__ float* projection_bias() const { return posterior_bias() + 2 * latents.count * kWide; }

  // [parts, width] of a bias [parts, total], from `first` on.
  __device__ void load_part(const void* bias, float* to, int parts, int total, int first,
                            int width) const {
    for (int i = thread(); i < parts * width; i += threads()) {
      const int part = i / width, at = first + i - part * width;
      to[i] = at < total ? to_float(static_cast<const E*>(bias)[part * total + at]) : 0.f;
    }
  }

  __device__ void load_bias() const {
    const DrawWeights& w = call.weights;
    const DrawSizes& s = p.sizes;
    const int unit0 = units.first * kWide, width = units.count * kWide;
    load_part(w.enc_b, enc_bias(), 4, s.hidden, unit0, width);
    load_part(w.dec_b, dec_bias(), 4, s.hidden, unit0, width);
    load_part(w.posterior_b, posterior_bias(), 2, s.latent, latents.first * kWide,
              latents.count * kWide);
    load_part(w.projection_b, projection_bias(), 1, s.projection(), numbers.first * kWide,
              numbers.count * kWide);
  }

  // ------------------------------------------------------------------------------ once a tile

  __device__ void start(int64_t index) {
    tile = tile_of(call, index);
    const DrawSizes& s = p.sizes;
    const int board = (o.board_end - o.board) / static_cast<int>(sizeof(float));
    __syncthreads();
    zero(floats(o.board), board);
    zero(floats(o.kl), p.rows() * latents.count * kWide);
    __syncthreads();
    const E* rows = static_cast<const E*>(call.arrays.rows);
    const int K = s.hidden;
    for (int i = thread(); i < tile.count * K; i += threads()) {
      const int row = i / K, k = i - row * K;
      const E* from = rows + row_at(0, call.all, row, s.row());
      if (!tile.prior)
        *element(elements(o.h_enc[0]), p.unit_blocks(), row, k) = from[s.h_enc() + k];
      *element(elements(o.h_dec[0]), p.unit_blocks(), row, k) = from[s.h_dec() + k];
    }
    const int width = units.count * kWide;
    for (int i = thread(); i < p.rows() * width; i += threads()) {
      const int row = i / width, unit = units.first * kWide + i - row * width;
      const bool there = row < tile.count && unit < K;
      floats(o.c_dec)[i] = there ? call.arrays.c_dec[row_at(0, call.all, row, K) + unit] : 0.f;
      floats(o.c_enc)[i] =
          there && !tile.prior ? call.arrays.c_enc[row_at(0, call.images, row, K) + unit] : 0.f;
    }
    const int number = s.projection();
    const E* projections = static_cast<const E*>(call.arrays.projections);
    for (int i = 0; i < samples.count; i++) {
      const int row = samples.first + i;
      if (row >= tile.count) break;
      for (int n = thread(); n < number; n += threads())
        numbers_of(row)[n] = to_float(projections[row_at(0, call.all, row, number) + n]);
      for (int n = thread(); n < s.pixels(); n += threads())
        canvas_of(i)[n] = call.arrays.canvases[row_at(0, call.all, row, s.pixels()) + n];
    }
    team.sync();  // every board is ready to be written to
    attend(-1, true);
  }

  __device__ float* numbers_of(int row) const {
    return floats(o.numbers) + row * p.number_blocks() * kWide;
  }
  __device__ float* canvas_of(int i) const { return floats(o.canvas) + i * p.sizes.pixels(); }

  // ------------------------------------------------------------------------------ once a step

  __device__ void step(int t) {
    if (tile.prior) {
      load_latents(t);
    } else {
      lstm(true, t);
      sample(t);
    }
    lstm(false, t);
    project(t);
    attend(t, t + 1 < call.steps);
  }

  // An LSTM cell: each thread has all gates of a unit of a sample.
  __device__ void lstm(bool encoder, int t) {
    const int now = t & 1, next = now ^ 1, blocks = p.unit_blocks(), K = p.sizes.hidden;
    const Operand<E> left =
        encoder ? Operand<E>{{elements(o.glimpses), elements(o.h_enc[now]), elements(o.h_dec[now])},
                             {p.glimpse_blocks(), blocks, blocks}}
                : Operand<E>{{elements(o.h_dec[now]), elements(o.z), nullptr},
                             {blocks, p.latent_blocks(), 0}};
    const int width = units.count * kWide, unit0 = units.first * kWide;
    const int64_t of = encoder ? call.images : call.all;
    const float* bias = encoder ? enc_bias() : dec_bias();
    float* c_state = floats(encoder ? o.c_enc : o.c_dec);
    E* h_segment = elements((encoder ? o.h_enc : o.h_dec)[next]);
    E* gates = static_cast<E*>(encoder ? call.arrays.gates_enc : call.arrays.gates_dec);
    float* c_out = encoder ? call.arrays.c_enc : call.arrays.c_dec;
    const int h_column = encoder ? p.sizes.h_enc() : p.sizes.h_dec();
    product<4>(
        left, encoder ? weights.of[kEncoder] : weights.of[kDecoder], units.count * 2, p.tiles,
        floats(o.scratch), [&](int m, int group, int row, int column, const float (&sums)[4]) {
          const int local = group * kColumns + column, unit = unit0 + local;
          row += m * kRows;
          float& c = c_state[row * width + local];
          const LstmGates g =
              lstm_gates(sums[0] + bias[local], sums[1] + bias[width + local],
                         sums[2] + bias[2 * width + local], sums[3] + bias[3 * width + local]);
          const E h = from_float<E>(lstm_output(g, c));
          *element(h_segment, blocks, row, unit) = h;
          if (!f.recorded || row >= tile.count || unit >= K) return;
          E* saved = gates + row_at(t, of, row, 4 * K) + unit;
          saved[0] = from_float<E>(g.i);
          saved[K] = from_float<E>(g.f);
          saved[2 * K] = from_float<E>(g.g);
          saved[3 * K] = from_float<E>(g.o);
          c_out[row_at(t + 1, of, row, K) + unit] = c;
          row_of(t + 1, row)[h_column + unit] = h;
        });
    exchange(h_segment, blocks, units);
  }

  __device__ E* row_of(int t, int row) const {
    return static_cast<E*>(call.arrays.rows) + row_at(t, call.all, row, p.sizes.row());
  }

  // z = mu + sigma eps, and the KL on the way.
  __device__ void sample(int t) {
    const int Z = p.sizes.latent, width = latents.count * kWide, z0 = latents.first * kWide;
    const Operand<E> left{{elements(o.h_enc[(t & 1) ^ 1]), nullptr, nullptr},
                          {p.unit_blocks(), 0, 0}};
    const float* bias = posterior_bias();
    product<2>(left, weights.of[kPosterior], latents.count * 2, p.tiles, floats(o.scratch),
               [&](int m, int group, int row, int column, const float (&sums)[2]) {
                 const int local = group * kColumns + column, latent = z0 + local;
                 row += m * kRows;
                 if (row >= tile.count || latent >= Z) return;
                 const float mu = sums[0] + bias[local], log_sigma = sums[1] + bias[width + local];
                 const float sigma = expf(log_sigma);
                 const int64_t at = row_at(t, call.images, row, Z) + latent;
                 const E z = from_float<E>(fmaf(sigma, call.eps[at], mu));
                 *element(elements(o.z), p.latent_blocks(), row, latent) = z;
                 floats(o.kl)[row * width + local] += kl_standard_normal(mu, log_sigma, sigma);
                 if (f.mu != nullptr) f.mu[at] = mu, f.log_sigma[at] = log_sigma;
                 if (f.recorded) row_of(t, row)[p.sizes.z() + latent] = z;
               });
    exchange(elements(o.z), p.latent_blocks(), latents);
  }

  // A prior sample's latent is its noise: every block takes all of it.
  __device__ void load_latents(int t) {
    const int Z = p.sizes.latent;
    const int64_t prior = call.all - call.images, first = tile.first - call.images;
    for (int i = thread(); i < tile.count * Z; i += threads()) {
      const int row = i / Z, latent = i - row * Z;
      const E z = from_float<E>(call.prior_eps[(t * prior + first + row) * Z + latent]);
      *element(elements(o.z), p.latent_blocks(), row, latent) = z;
      const int block = latent / kWide - latents.first;
      if (f.recorded && block >= 0 && block < latents.count)
        row_of(t, row)[p.sizes.z() + latent] = z;
    }
    __syncthreads();
  }

  // Patch and windows, to the block that has the sample.
  __device__ void project(int t) {
    const int count = p.sizes.projection(), first = numbers.first * kWide;
    const Operand<E> left{{elements(o.h_dec[(t & 1) ^ 1]), nullptr, nullptr},
                          {p.unit_blocks(), 0, 0}};
    E* projections = static_cast<E*>(call.arrays.projections);
    const float* bias = projection_bias();
    product<2>(left, weights.of[kProjection], numbers.count, p.tiles, floats(o.scratch),
               [&](int m, int group, int row, int column, const float (&sums)[2]) {
                 row += m * kRows;
                 if (row >= tile.count) return;
#pragma unroll
                 for (int n = 0; n < 2; n++) {
                   const int local = group * kWide + n * kColumns + column, number = first + local;
                   if (number >= count) continue;
                   const E value = from_float<E>(sums[n] + bias[local]);
                   team.store_to(owner(row, p.rows(), team.size()), numbers_of(row) + number,
                                 to_float(value));
                   if (f.recorded)
                     projections[row_at(t + 1, call.all, row, count) + number] = value;
                 }
               });
    team.sync();
    team.take(numbers_of(samples.first),
              samples.count * p.number_blocks() * kWide * static_cast<int>(sizeof(float)));
    team.taken();
  }

  // The write of step t onto this block's canvases (none before step 0), then the next step's read.
  __device__ void attend(int t, bool reads) {
    const bool writes = t >= 0;
    reads = reads && !tile.prior;
    const auto work = [&](const auto& group, int i, float* scratch) {
      if (writes) write(group, t, i, scratch);
      if (reads) read(group, t + 1, i, scratch);
    };
    this->for_samples(floats(o.attention), work);
    if (!reads) return;
    team.sync();
    team.take(elements(o.glimpses),
              p.tiles * p.glimpse_blocks() * kLeft * static_cast<int>(sizeof(E)));
    team.taken();
  }

  template <class Group>
  __device__ void write(const Group& group, int t, int i, float* scratch) const {
    const DrawSizes& s = p.sizes;
    const int N = s.write_N, H = s.height, W = s.width, row = samples.first + i;
    const float* number = numbers_of(row);
    float* after = scratch + N * (H + W);
    const SampleWindow window = sample_window(group, write_map, number + s.patch(), H, W, N,
                                              scratch, after + N * N + N * H);
    float* saved = nullptr;
    if (f.recorded) saved = call.arrays.canvases + row_at(t + 1, call.all, row, s.pixels());
    if (!f.recorded && t + 1 == call.steps)
      saved = call.arrays.canvases + row_at(0, call.all, row, s.pixels());
    for (int c = 0; c < s.channels; c++) {
      write_channel<1>(group, window, write_map.transposed, number + c * N * N, after,
                       [&](int h, int w, float (&added)[1][1]) {
                         const int pixel = (c * H + h) * W + w;
                         const float value = canvas_of(i)[pixel] + added[0][0];
                         canvas_of(i)[pixel] = value;
                         if (saved != nullptr) saved[pixel] = value;
                       });
    }
    group.sync();
  }

  template <class Group>
  __device__ void read(const Group& group, int t, int i, float* scratch) const {
    const DrawSizes& s = p.sizes;
    const int N = s.read_N, H = s.height, W = s.width, row = samples.first + i;
    const int half = s.glimpses() / 2;
    float *V = scratch + N * (H + W), *glimpses = V + 2 * N * W + 2 * N;
    const SampleWindow window = sample_window(group, read_map, numbers_of(row) + s.patch() + 5, H,
                                              W, N, scratch, V + 2 * N * W);
    for (int c = 0; c < s.channels; c++) {
      const float* image = call.x + (tile.first + row) * s.pixels() + c * H * W;
      read_channel<1, 2>(group, window,
                         ImageAndError<1, float, float>{image, canvas_of(i) + c * H * W, W}, V,
                         [&](int m, int y, int x, float value) {
                           const int at = read_map.transposed ? x * N + y : y * N + x;
                           glimpses[m * half + c * N * N + at] = value;
                         });
      group.sync();
    }
    for (int n = group.rank(); n < s.glimpses(); n += group.size()) {
      const E value = from_float<E>(glimpses[n]);
      team.store(element(elements(o.glimpses), p.glimpse_blocks(), row, n), value);
      if (f.recorded) row_of(t, row)[n] = value;
    }
    group.sync();
  }

  // The KL of this block's latents, summed in double: a long sum of like terms.
  __device__ void finish() const {
    if (tile.prior || f.kl == nullptr) return;
    const int width = latents.count * kWide;
    for (int row = thread(); row < tile.count; row += threads()) {
      double sum = 0.;
      for (int i = 0; i < width; i++) sum += static_cast<double>(floats(o.kl)[row * width + i]);
      f.kl[team.rank() * call.images + tile.first + row] += sum;
    }
  }
};

template <class E, class Team>
__global__ void __launch_bounds__(kMaxThreads, 1)
    draw_scan_kernel(const __grid_constant__ DrawForwardCall call,
                     const __grid_constant__ Convention read,
                     const __grid_constant__ Convention write) {
  if (!Team::runs_here()) return;
  DRAWGAN_DYNAMIC_SHARED(shared);
  Forward<E, Team> block(call, read, write, shared);
  block.load();
  const int64_t tiles = tiles_of(call.call);
  for (int64_t tile = block.team.index(); tile < tiles; tile += call.call.plan.teams) {
    block.start(tile);
    for (int t = 0; t < call.call.steps; t++) block.step(t);
    block.finish();
  }
}

DrawKernel<DrawForwardCall> kernel_of(const DrawPlan& plan, bool bf16_products) {
  const bool cluster = plan.kind == TeamKind::cluster;
  const auto kernel = bf16_products ? cluster ? draw_scan_kernel<bf16, ClusterTeam>
                                              : draw_scan_kernel<bf16, GridTeam>
                      : cluster     ? draw_scan_kernel<float, ClusterTeam>
                                    : draw_scan_kernel<float, GridTeam>;
  return {"draw_scan", kernel, plan.forward.end};
}

}  // namespace

int resident_teams(const DrawPlan& plan, bool bf16_products) {
  return kernel_of(plan, bf16_products).resident(plan);
}

void draw_scan(const DrawForwardCall& call, cudaStream_t stream) {
  kernel_of(call.call.plan, call.call.bf16).run(call, stream);
}

}  // namespace drawgan::cuda
