// The recurrence's gradient: one launch carries every tile of samples from the last step to the
// first. Weight gradients are products over all steps afterwards, of what is stored here.
// docs/cuda.md has the derivation.
#include "draw_block.cuh"
#include "lstm.cuh"

namespace drawgan::cuda {
namespace {

template <class E, class Team>
struct Backward : DrawBlock<E, Team> {
  using Base = DrawBlock<E, Team>;
  using Base::call, Base::element, Base::exchange, Base::fill, Base::latents, Base::p, Base::row_at;
  using Base::samples, Base::team, Base::thread, Base::threads, Base::tile, Base::units;
  using Base::zero;

  const DrawBackwardCall& b;
  const Convention& read_map;
  const Convention& write_map;
  const DrawPlan::Backward& o;
  typename Base::Placed weights{};
  Share glimpses;

  __device__ Backward(const DrawBackwardCall& backward, const Convention& read,
                      const Convention& write, unsigned char* memory)
      : Base(backward.call, memory, backward.call.plan.backward.board),
        b(backward),
        read_map(read),
        write_map(write),
        o(backward.call.plan.backward),
        glimpses(p.glimpses(team.rank())) {}

  __device__ float* floats(int offset) const { return this->template at<float>(offset); }
  __device__ E* elements(int offset) const { return this->template at<E>(offset); }
  __device__ int width() const { return units.count * kWide; }
  __device__ int gate_blocks() const { return 4 * p.unit_blocks(); }
  __device__ int posterior_blocks() const { return 2 * p.latent_blocks(); }

  // ---------------------------------------------------------------------------- once a launch

  // Rows of an LSTM's matrix for a block of an operand [unit block, gate, unit].
  __device__ Span gate_rows(int block) const {
    const int K = p.sizes.hidden;
    return {block % 4 * K + block / 4 * kWide, K - block / 4 * kWide};
  }

  __device__ void load() {
    weights = this->place(p.backward_weights(team.rank()), o.resident, o.weights);
    const DrawSizes& s = p.sizes;
    const int K = s.hidden, Z = s.latent, unit0 = units.first * kWide, own = 2 * units.count;
    const DrawWeights& w = call.weights;
    const Matrix<E> enc{static_cast<const E*>(w.enc), 4 * K, s.z()};
    const Matrix<E> dec{static_cast<const E*>(w.dec), 4 * K, K + Z};
    const Matrix<E> posterior{static_cast<const E*>(w.posterior), 2 * Z, K};
    const Matrix<E> projection{static_cast<const E*>(w.projection), s.projection(), K};
    fill(weights, kProjection, own, p.number_blocks(), [&](int operand, int block, int column) {
      return projection.along_outputs(span_of(block, s.projection(), 0),
                                      unit0 + operand * kColumns + column);
    });
    fill(weights, kDecoder, own + 2 * latents.count, gate_blocks(),
         [&](int operand, int block, int column) {
           const int unit = unit0 + operand * kColumns + column;
           if (operand < own) return dec.along_outputs(gate_rows(block), unit < K ? unit : -1);
           const int latent = latents.first * kWide + (operand - own) * kColumns + column;
           return dec.along_outputs(gate_rows(block), K + latent);
         });
    fill(weights, kPosterior, own, posterior_blocks(), [&](int operand, int block, int column) {
      const Span rows{block % 2 * Z + block / 2 * kWide, Z - block / 2 * kWide};
      return posterior.along_outputs(rows, unit0 + operand * kColumns + column);
    });
    fill(weights, kEncoder, 2 * own + 2 * glimpses.count, gate_blocks(),
         [&](int operand, int block, int column) {
           return enc.along_outputs(gate_rows(block), encoder_output(operand, column));
         });
    team.sync_teams();
  }

  // Column of the encoder's matrix for an operand of [h_enc, h_dec, glimpses].
  __device__ int encoder_output(int operand, int column) const {
    const DrawSizes& s = p.sizes;
    const int own = 2 * units.count;
    if (operand < 2 * own) {
      const int unit = units.first * kWide + operand % own * kColumns + column;
      return unit < s.hidden ? (operand < own ? s.h_enc() : s.h_dec()) + unit : -1;
    }
    const int number = glimpses.first * kWide + (operand - 2 * own) * kColumns + column;
    return number < s.glimpses() ? number : -1;
  }

  // ------------------------------------------------------------------------------ once a tile

  // Runs carry(state, of this block, index) between the gradients here and those in global memory.
  template <class Carry>
  __device__ void for_state(const Carry& carry) const {
    const DrawSizes& s = p.sizes;
    const int K = s.hidden;
    for (int i = thread(); i < p.rows() * width(); i += threads()) {
      const int row = i / width(), unit = units.first * kWide + i - row * width();
      const bool there = row < tile.count && unit < K, image = there && !tile.prior;
      const int64_t at = row_at(0, 0, row, K) + unit;
      carry(b.d_h_enc + at, floats(o.d_h_enc) + i, image);
      carry(b.d_c_enc + at, floats(o.d_c_enc) + i, image);
      carry(b.d_h_dec + at, floats(o.d_h_dec) + i, there);
      carry(b.d_c_dec + at, floats(o.d_c_dec) + i, there);
    }
    for (int i = 0; i < samples.count; i++) {
      const int row = samples.first + i;
      if (row >= tile.count) break;
      for (int n = thread(); n < s.pixels(); n += threads())
        carry(b.d_canvas + row_at(0, 0, row, s.pixels()) + n, d_canvas_of(i) + n, true);
      for (int n = thread(); n < s.glimpses(); n += threads())
        carry(b.d_glimpses + row_at(0, 0, row, s.glimpses()) + n, d_glimpses_of(row) + n,
              !tile.prior);
    }
  }

  __device__ float* d_canvas_of(int i) const { return floats(o.d_canvas) + i * p.sizes.pixels(); }
  __device__ float* d_glimpses_of(int row) const {
    return floats(o.d_glimpses) + row * p.glimpse_blocks() * kWide;
  }

  __device__ void start(int64_t index) {
    tile = tile_of(call, index);
    __syncthreads();
    zero(floats(o.board), (o.board_end - o.board) / static_cast<int>(sizeof(float)));
    __syncthreads();
    for_state(
        [](const float* outside, float* here, bool there) { *here = there ? *outside : 0.f; });
    team.sync();  // every board is ready to be written to
  }

  __device__ void finish() const {
    __syncthreads();
    for_state([](float* outside, const float* here, bool there) {
      if (there) *outside = *here;
    });
  }

  // ------------------------------------------------------------------------------ once a step

  // Boundary k, then the step before it; before the first read of all there is none.
  __device__ void step(int k) {
    boundary(k, k > 0, k < call.steps || !b.last);
    if (k == 0) return;
    decode(k - 1);
    if (!tile.prior) encode(k - 1);
  }

  // The read after the write of step k - 1, then that write.
  __device__ void boundary(int k, bool writes, bool reads) {
    reads = reads && !tile.prior;
    this->for_samples(floats(o.attention), [&](const auto& group, int i, float* scratch) {
      const int row = samples.first + i, count = p.sizes.projection();
      float* d = scratch;  // of the projected numbers
      set_zero(group, d, count);
      if (reads) read(group, k, i, d, scratch + count);
      if (writes) write(group, k, i, d, scratch + count);
      E* saved = static_cast<E*>(b.d_projections) + row_at(k, call.all, row, count);
      for (int n = group.rank(); n < count; n += group.size()) {
        const E value = from_float<E>(d[n]);
        if (writes) team.store(element(elements(o.d_numbers), p.number_blocks(), row, n), value);
        saved[n] = value;
      }  // no barrier: each thread clears for the next sample what it has read itself
    });
    if (!writes) return;
    team.sync();
    team.take(elements(o.d_numbers),
              p.tiles * p.number_blocks() * kLeft * static_cast<int>(sizeof(E)));
    team.taken();
  }

  __device__ const E* numbers_of(int k, int row) const {
    const int count = p.sizes.projection();
    return static_cast<const E*>(call.arrays.projections) + row_at(k, call.all, row, count);
  }

  template <class Group>
  __device__ void read(const Group& group, int k, int i, float* d, float* scratch) const {
    const DrawSizes& s = p.sizes;
    const int N = s.read_N, H = s.height, W = s.width, filters = N * (H + W),
              half = s.glimpses() / 2;
    const int row = samples.first + i;
    float *dF = scratch + filters, *R = dF + filters, *YZ = R + 2 * N * N, *sums = YZ + 2 * filters;
    const E* params = numbers_of(k, row) + s.patch() + 5;
    const SampleWindow window = sample_window(group, read_map, params, H, W, N, scratch, sums);
    set_zero(group, dF, filters);
    for (int c = 0; c < s.channels; c++) {
      for (int m = 0; m < 2; m++)
        load_patch(group, d_glimpses_of(row) + m * half + c * N * N, N, read_map.transposed,
                   window.intensity, R + m * N * N);
      group.sync();
      const int64_t channel = static_cast<int64_t>(c) * H * W;
      const float* image = call.x + (tile.first + row) * s.pixels() + channel;
      const float* canvas = call.arrays.canvases + row_at(k, call.all, row, s.pixels()) + channel;
      float* d_canvas = d_canvas_of(i) + channel;
      float* d_x = b.d_x == nullptr ? nullptr : b.d_x + (image - call.x);
      read_channel_backward<1, 2>(group, window, ImageAndError<1, float, float>{image, canvas, W},
                                  R, dF, dF + N * H, YZ, [&](int h, int w, float (&of)[2][1]) {
                                    const int at = h * W + w;
                                    const float y = sigmoid(canvas[at]);
                                    d_canvas[at] += of[1][0] * (y * y - y);
                                    if (d_x != nullptr) d_x[at] += of[0][0] + of[1][0];
                                  });
    }
    group.sync();
    const WindowGradient of =
        filters_backward(group, read_map, window.y, window.x, dF, dF + N * H, sums);
    if (group.rank() == 0) window_backward(read_map, params, window.y.delta, of, d + s.patch() + 5);
    group.sync();
  }

  template <class Group>
  __device__ void write(const Group& group, int k, int i, float* d, float* scratch) const {
    const DrawSizes& s = p.sizes;
    const int N = s.write_N, H = s.height, W = s.width, filters = N * (H + W);
    const E* numbers = numbers_of(k, samples.first + i);
    float *dF = scratch + filters, *of_channel = dF + filters;
    float* sums = of_channel + N * N + 2 * N * W;
    const SampleWindow window =
        sample_window(group, write_map, numbers + s.patch(), H, W, N, scratch, sums);
    set_zero(group, dF, filters);
    for (int c = 0; c < s.channels; c++) {
      write_channel_backward<1>(group, window, write_map.transposed, numbers + c * N * N,
                                OneImage<1, float>{d_canvas_of(i) + c * H * W, W}, dF, dF + N * H,
                                of_channel, [&](int y, int x, float value) {
                                  const int at = write_map.transposed ? x * N + y : y * N + x;
                                  d[c * N * N + at] = value;
                                });
    }
    group.sync();
    const WindowGradient of =
        filters_backward(group, write_map, window.y, window.x, dF, dF + N * H, sums);
    if (group.rank() == 0)
      window_backward(write_map, numbers + s.patch(), window.y.delta, of, d + s.patch());
    group.sync();
  }

  // The LSTM's gates of one unit, from the gradient of its h, to the board and to global memory.
  __device__ void gates(bool encoder, int t, int row, int local, float d_h) const {
    const int K = p.sizes.hidden, unit = units.first * kWide + local;
    if (row >= tile.count || unit >= K) return;
    const int64_t of = encoder ? call.images : call.all;
    const int64_t at = row_at(t, of, row, 4 * K) + unit;
    const E* saved =
        static_cast<const E*>(encoder ? call.arrays.gates_enc : call.arrays.gates_dec) + at;
    const float* c =
        (encoder ? call.arrays.c_enc : call.arrays.c_dec) + row_at(t, of, row, K) + unit;
    const LstmGates gates{to_float(saved[0]), to_float(saved[K]), to_float(saved[2 * K]),
                          to_float(saved[3 * K])};
    float& d_c = floats(encoder ? o.d_c_enc : o.d_c_dec)[row * width() + local];
    const LstmGates d = lstm_backward(gates, c[0], c[of * K], d_h, d_c);
    E* out = static_cast<E*>(encoder ? b.d_gates_enc : b.d_gates_dec) + at;
    const float each[4] = {d.i, d.f, d.g, d.o};
#pragma unroll
    for (int gate = 0; gate < 4; gate++) {
      const E value = from_float<E>(each[gate]);
      const int k = (unit / kWide * 4 + gate) * kTile + unit % kWide;
      *element(elements(o.d_gates), gate_blocks(), row, k) = value;
      out[gate * K] = value;
    }
  }

  __device__ Share own_gates() const { return {4 * units.first, 4 * units.count}; }

  // From the projected numbers through the decoder to its state before, and to z.
  __device__ void decode(int t) {
    const Operand<E> of_numbers{{elements(o.d_numbers), nullptr, nullptr},
                                {p.number_blocks(), 0, 0}};
    product<2>(of_numbers, weights.of[kProjection], units.count, p.tiles, floats(o.scratch),
               [&](int m, int group, int row, int column, const float (&sums)[2]) {
                 row += m * kRows;
#pragma unroll
                 for (int n = 0; n < 2; n++) {
                   const int local = group * kWide + n * kColumns + column;
                   gates(false, t, row, local, sums[n] + floats(o.d_h_dec)[row * width() + local]);
                 }
               });
    exchange(elements(o.d_gates), gate_blocks(), own_gates());
    const Operand<E> of_gates{{elements(o.d_gates), nullptr, nullptr}, {gate_blocks(), 0, 0}};
    product<2>(of_gates, weights.of[kDecoder], units.count + latents.count, p.tiles,
               floats(o.scratch),
               [&](int m, int group, int row, int column, const float (&sums)[2]) {
                 row += m * kRows;
#pragma unroll
                 for (int n = 0; n < 2; n++) {
                   const int local = n * kColumns + column;
                   if (group < units.count)
                     floats(o.d_h_dec)[row * width() + group * kWide + local] = sums[n];
                   else
                     latent(t, row, (latents.first + group - units.count) * kWide + local, sums[n]);
                 }
               });
    if (!tile.prior)
      exchange(elements(o.d_posterior), posterior_blocks(), {2 * latents.first, 2 * latents.count});
  }

  // What one latent's gradient says of mu, log sigma and the noise.
  __device__ void latent(int t, int row, int k, float d_z) const {
    const int Z = p.sizes.latent;
    if (row >= tile.count || k >= Z) return;
    if (tile.prior) {  // its noise is its latent
      const int64_t prior = call.all - call.images, sample = tile.first - call.images + row;
      if (b.d_prior_eps != nullptr) b.d_prior_eps[(t * prior + sample) * Z + k] = d_z;
      return;
    }
    const int64_t at = row_at(t, call.images, row, Z) + k;
    const float sigma = expf(b.log_sigma[at]), to_eps = d_z * sigma;
    float to_mu = d_z, to_log_sigma = to_eps * call.eps[at];
    if (b.given_mu != nullptr) to_mu += b.given_mu[at];
    if (b.given_log_sigma != nullptr) to_log_sigma += b.given_log_sigma[at];
    if (b.given_kl != nullptr) {
      const float d = b.given_kl[tile.first + row];
      to_mu += d * b.mu[at];
      to_log_sigma += d * (sigma * sigma - 1.f);
    }
    if (b.d_eps != nullptr) b.d_eps[at] = to_eps;
    const float each[2] = {to_mu, to_log_sigma};
    E* out = static_cast<E*>(b.d_posterior) + row_at(t, call.images, row, 2 * Z) + k;
#pragma unroll
    for (int part = 0; part < 2; part++) {
      const E value = from_float<E>(each[part]);
      const int at_board = (k / kWide * 2 + part) * kTile + k % kWide;
      *element(elements(o.d_posterior), posterior_blocks(), row, at_board) = value;
      out[part * Z] = value;
    }
  }

  // From the posterior through the encoder to both states before, and to the glimpses.
  __device__ void encode(int t) {
    const Operand<E> of_posterior{{elements(o.d_posterior), nullptr, nullptr},
                                  {posterior_blocks(), 0, 0}};
    product<2>(of_posterior, weights.of[kPosterior], units.count, p.tiles, floats(o.scratch),
               [&](int m, int group, int row, int column, const float (&sums)[2]) {
                 row += m * kRows;
#pragma unroll
                 for (int n = 0; n < 2; n++) {
                   const int local = group * kWide + n * kColumns + column;
                   gates(true, t, row, local, sums[n] + floats(o.d_h_enc)[row * width() + local]);
                 }
               });
    exchange(elements(o.d_gates), gate_blocks(), own_gates());
    const Operand<E> of_gates{{elements(o.d_gates), nullptr, nullptr}, {gate_blocks(), 0, 0}};
    product<2>(
        of_gates, weights.of[kEncoder], 2 * units.count + glimpses.count, p.tiles,
        floats(o.scratch), [&](int m, int group, int row, int column, const float (&sums)[2]) {
          row += m * kRows;
#pragma unroll
          for (int n = 0; n < 2; n++) {
            const int local = n * kColumns + column, unit = group % units_or_one() * kWide + local;
            if (group < units.count) {
              floats(o.d_h_enc)[row * width() + unit] = sums[n];
            } else if (group < 2 * units.count) {
              floats(o.d_h_dec)[row * width() + unit] += sums[n];
            } else if (row < tile.count) {
              const int number = (glimpses.first + group - 2 * units.count) * kWide + local;
              team.store_to(owner(row, p.rows(), team.size()), d_glimpses_of(row) + number,
                            sums[n]);
            }
          }
        });
    team.sync();
    team.take(d_glimpses_of(samples.first),
              samples.count * p.glimpse_blocks() * kWide * static_cast<int>(sizeof(float)));
    team.taken();
  }

  __device__ int units_or_one() const { return units.count > 0 ? units.count : 1; }
};

template <class E, class Team>
__global__ void __launch_bounds__(kMaxThreads, 1)
    draw_scan_backward_kernel(const __grid_constant__ DrawBackwardCall call,
                              const __grid_constant__ Convention read,
                              const __grid_constant__ Convention write) {
  if (!Team::runs_here()) return;
  DRAWGAN_DYNAMIC_SHARED(shared);
  Backward<E, Team> block(call, read, write, shared);
  block.load();
  const int64_t tiles = tiles_of(call.call);
  for (int64_t tile = block.team.index(); tile < tiles; tile += call.call.plan.teams) {
    block.start(tile);
    for (int k = call.call.steps; k > 0 || (k == 0 && call.first); k--) block.step(k);
    block.finish();
  }
}

DrawKernel<DrawBackwardCall> kernel_of(const DrawPlan& plan, bool bf16_products) {
  const bool cluster = plan.kind == TeamKind::cluster;
  const auto kernel = bf16_products ? cluster ? draw_scan_backward_kernel<bf16, ClusterTeam>
                                              : draw_scan_backward_kernel<bf16, GridTeam>
                      : cluster     ? draw_scan_backward_kernel<float, ClusterTeam>
                                    : draw_scan_backward_kernel<float, GridTeam>;
  return {"draw_scan_backward", kernel, plan.backward.end};
}

}  // namespace

int resident_teams_backward(const DrawPlan& plan, bool bf16_products) {
  return kernel_of(plan, bf16_products).resident(plan);
}

void draw_scan_backward(const DrawBackwardCall& call, cudaStream_t stream) {
  kernel_of(call.call.plan, call.call.bf16).run(call, stream);
}

}  // namespace drawgan::cuda
