// The recurrence, backward. Segment by segment from the last step: each thread carries its share of
// the batch back through the segment's steps alone, then all threads together add the segment's
// rows to the weight gradients, one product a weight matrix. What forward saved is only read, so
// backward can run any number of times; gradients of gates exist for one segment at a time.
//
// A weight gradient is split over threads by blocks of its elements and summed over rows in one
// fixed order: its value does not depend on the number of threads.
#include "draw_boundary.h"
#include "draw_layout.h"
#include "threads.h"
#include "weight_gradient.h"
#include "workspace.h"

namespace drawgan::DRAWGAN_ISA {
namespace {

template <class T>
void lstm_rows_backward(const Sizes<T>& s, const T* gates, const T* c_prev, const T* c,
                        const T* d_h, T* d_c, const GateRows<T>& d_gates, int64_t m) {
  constexpr int L = kLanes<T>;
  for (int64_t r = 0; r < m; r++)
    for (int64_t u = 0; u < s.hidden; u += L) {
      const T* from = gates + r * s.ld_gates + 4 * u;
      const int64_t state = r * s.hidden_padded + u;
      // A row of gates is about a page, at whose end the hardware stops fetching ahead.
      for (int i = 0; i < 4; i++) {
        __builtin_prefetch(from + s.ld_gates + i * L);
        d_gates.prefetch(r + 1, 4 * u + i * L);
      }
      __builtin_prefetch(c_prev + state + s.hidden_padded);
      const Vec<T> activations[4] = {load(from), load(from + L), load(from + 2 * L),
                                     load(from + 3 * L)};
      Vec<T> out[4], running = load(d_c + state);
      lstm_backward<T>(activations, load(c_prev + state), load(c + state),
                       load(d_h + r * s.ld_hidden + u), &running, out);
      store(d_c + state, running);
      for (int i = 0; i < 4; i++) d_gates.put(r, 4 * u + i * L, out[i]);
    }
}

// Gradients of samples [b0, b0 + m) after the last step.
template <class T>
void start_backward(const ScanArgs& a, const Sizes<T>& s, const Group<T>& g,
                    const GroupGradient<T>& d, int64_t b0, int64_t m) {
  const T* d_canvas = static_cast<const T*>(g.encoder ? a.d_canvas : a.d_prior_canvas);
  auto zero = [&](T* p, int64_t each) { memset(p + b0 * each, 0, m * each * sizeof(T)); };
  if (d_canvas)
    for (int64_t b = b0; b < b0 + m; b++)
      pad_rows(d_canvas + b * s.pixels, s.image_rows, s.width, s.ld, d.canvas + b * s.image);
  else
    zero(d.canvas, s.image);
  zero(d.h_dec, s.ld_hidden);
  zero(d.c_dec, s.hidden_padded);
  if (!g.encoder) return;
  zero(d.h_enc, s.ld_hidden);
  zero(d.c_enc, s.hidden_padded);
  if (d.x) zero(d.x, s.image);
}

// From dL/dz and what the loss says of mu, log sigma and the KL to the gradient of the posterior's
// sums.
template <class T>
void posterior_backward(const ScanArgs& a, const Sizes<T>& s, const T* d_z, T* d_posterior,
                        int64_t step, int64_t b0, int64_t m) {
  constexpr int L = kLanes<T>;
  auto given = [](const void* p, int64_t at, int64_t count) {
    return p ? load_part(static_cast<const T*>(p) + at, count) : Vec<T>{};
  };
  for (int64_t r = 0; r < m; r++) {
    const T d_kl = a.d_kl ? static_cast<const T*>(a.d_kl)[b0 + r] : T(0);
    for (int64_t u = 0; u < s.latent; u += L) {
      const int64_t at = (step + r) * s.latent + u, count = s.latent - u;
      const Vec<T> dz = load(d_z + r * s.latent_padded + u);
      const Vec<T> sigma = vexp(given(a.log_sigma, at, count));
      const Vec<T> d_eps = dz * sigma;
      Vec<T> d_mu = dz + given(a.d_mu, at, count);
      Vec<T> d_log_sigma = d_eps * given(a.eps, at, count) + given(a.d_log_sigma, at, count);
      if (a.d_kl) {  // else 0 times an infinite sigma^2
        d_mu += d_kl * given(a.mu, at, count);
        d_log_sigma += d_kl * (sigma * sigma - T(1));
      }
      T* to = d_posterior + r * s.ld_posterior + 2 * u;
      store(to, d_mu);
      store(to + L, d_log_sigma);
      if (a.d_eps) store_part(static_cast<T*>(a.d_eps) + at, d_eps, count);
    }
  }
}

template <class T>
void backward_steps(const ScanArgs& a, const Sizes<T>& s, const PackedWeights<T>& w,
                    const Group<T>& g, const GroupGradient<T>& d, const ThreadScratch<T>& scratch,
                    int64_t first, int64_t n, int64_t b0, int64_t m) {
  const BoundaryBackward<T> boundary{a, s, g, d, scratch};
  const int64_t c = s.hidden_padded;
  T *d_h_dec = d.h_dec + b0 * s.ld_hidden, *d_z = d.z + b0 * s.latent_padded;
  auto rows = [&](const T* A, int64_t ld, const Packed<T>& B) {
    return rows_of(s, A, ld, m, B.K, scratch.half);
  };
  for (int64_t t = n - 1; t >= 0; t--) {
    const int64_t at = t * g.rows + b0, next = at + g.rows, step = (first + t) * g.rows + b0;
    const bool earlier = first + t > 0, read = g.encoder && first + t + 1 < s.steps;
    for (int64_t b = b0; b < b0 + m; b++) boundary.run(t + 1, b, true, read);
    multiply(rows(d.P + next * s.ld_projection, s.ld_projection, w.projection_to_h),
             w.projection_to_h, d_h_dec, s.ld_hidden, m, true);
    const GateRows<T> gates_dec = d.gates_dec.from(at);
    lstm_rows_backward(s, g.gates_dec + at * s.ld_gates, g.c_dec + at * c, g.c_dec + next * c,
                       d_h_dec, d.c_dec + b0 * c, gates_dec, m);
    const Rows<T> from_dec = gates_dec;
    if (g.encoder || a.d_prior_eps) multiply(from_dec, w.dec_to_z, d_z, s.latent_padded, m, false);
    if (earlier) multiply(from_dec, w.dec_to_h_dec, d_h_dec, s.ld_hidden, m, false);
    if (!g.encoder) {
      if (a.d_prior_eps)
        unpad_rows(d_z, m, s.latent, s.latent_padded,
                   static_cast<T*>(a.d_prior_eps) + step * s.latent);
      continue;
    }
    T *d_h_enc = d.h_enc + b0 * s.ld_hidden, *d_posterior = d.posterior + at * s.ld_posterior;
    posterior_backward(a, s, d_z, d_posterior, step, b0, m);
    multiply(rows(d_posterior, s.ld_posterior, w.posterior_to_h), w.posterior_to_h, d_h_enc,
             s.ld_hidden, m, true);
    const GateRows<T> gates_enc = d.gates_enc.from(at);
    lstm_rows_backward(s, g.gates_enc + at * s.ld_gates, g.c_enc + at * c, g.c_enc + next * c,
                       d_h_enc, d.c_enc + b0 * c, gates_enc, m);
    const Rows<T> from_enc = gates_enc;
    multiply(from_enc, w.enc_to_r, d.r + b0 * s.glimpses_padded, s.glimpses_padded, m, false);
    if (!earlier) continue;
    multiply(from_enc, w.enc_to_h_enc, d_h_enc, s.ld_hidden, m, false);
    multiply(from_enc, w.enc_to_h_dec, d_h_dec, s.ld_hidden, m, true);
  }
  if (first > 0) return;
  for (int64_t b = b0; b < b0 + m; b++) boundary.run(0, b, false, g.encoder);
}

// The transposed weight gradients: row = input of a product, column = output.
template <class T>
struct WeightGradients {
  T *enc, *dec, *posterior, *projection;
  int64_t ld_gates, ld_posterior, ld_projection;

  WeightGradients(const Sizes<T>& s, const PackedWeights<T>& w, Arena<T>& arena)
      : ld_gates(s.ld_gates), ld_posterior(s.ld_posterior), ld_projection(s.ld_projection) {
    enc = arena.take(w.enc.K * ld_gates);
    dec = arena.take(w.dec.K * ld_gates);
    posterior = arena.take(w.posterior.K * ld_posterior);
    projection = arena.take(w.projection.K * ld_projection);
  }
  // Zeros where no row will be added.
  void clear(const Sizes<T>& s, const PackedWeights<T>& w, bool no_steps) const {
    if (no_steps || s.batch == 0) {
      memset(enc, 0, w.enc.K * ld_gates * sizeof(T));
      memset(posterior, 0, w.posterior.K * ld_posterior * sizeof(T));
    }
    if (no_steps || s.batch + s.prior_batch == 0) {
      memset(dec, 0, w.dec.K * ld_gates * sizeof(T));
      memset(projection, 0, w.projection.K * ld_projection * sizeof(T));
    }
  }
};

// Adds a segment's rows. The first segment of the recurrence, which comes last, has boundary 0 too.
template <class T>
void add_weight_gradients(const ScanArgs& a, const Sizes<T>& s, const PackedWeights<T>& w,
                          const Group<T> (&groups)[2], const GroupGradient<T> (&d)[2],
                          const WeightGradients<T>& out, int64_t first, int64_t n, bool accumulate,
                          char* scratch, int64_t scratch_each) {
  const Group<T>& g = groups[0];
  const int64_t from = first == 0 ? 0 : 1;
  Target<T> targets[4];
  int count = 0;
  auto source = [](const Group<T>& group, int64_t t, int64_t column, const T* G, int64_t rows) {
    return ProductRows<T>{group.S + t * group.rows * group.ld + column, group.ld, G, rows};
  };
  auto gates_source = [&](const Group<T>& group, int64_t column, const GateRows<T>& G) {
    ProductRows<T> rows = source(group, 0, column, G.data, n * group.rows);
    rows.half = G.half;
    return rows;
  };
  Target<T>& dec = targets[count++];
  dec = {out.dec, s.ld_gates, w.dec.K, w.dec.N, s.ld_gates, {}, 0};
  Target<T>& projection = targets[count++];
  projection = {
      out.projection, s.ld_projection, w.projection.K, w.projection.N, s.ld_projection, {}, 0};
  for (int i = 0; i < 2; i++) {
    const int64_t B = groups[i].rows;
    if (B == 0) continue;
    dec.sources[dec.count++] = gates_source(groups[i], groups[i].h_dec, d[i].gates_dec);
    projection.sources[projection.count++] = source(
        groups[i], from, groups[i].h_dec, d[i].P + from * B * s.ld_projection, (n + 1 - from) * B);
  }
  if (g.rows > 0) {
    Target<T>& enc = targets[count++];
    enc = {out.enc, s.ld_gates, w.enc.K, w.enc.N, s.ld_gates, {}, 1};
    enc.sources[0] = gates_source(g, 0, d[0].gates_enc);
    Target<T>& posterior = targets[count++];
    posterior = {
        out.posterior, s.ld_posterior, w.posterior.K, w.posterior.N, s.ld_posterior, {}, 1};
    posterior.sources[0] = source(g, 1, g.h_enc - 1, d[0].posterior, n * g.rows);
  }
  in_parallel(a.shape.threads, a.shape.threads, [&](int part, int parts) {
    add_products(targets, count, s.bf16, accumulate, part, parts,
                 reinterpret_cast<T*>(scratch + part * scratch_each));
  });
}

// Rows [k0, k0 + count) of one vector of columns: lane j goes to row(j), unless that is null.
template <class T, class F>
void unpack_columns(const T* columns, int64_t ld, int64_t k0, int64_t count, const F& row) {
  constexpr int L = kLanes<T>;
  for (int64_t k = 0; k < count; k += L) {
    Vec<T> v[L];
    for (int64_t l = 0; l < L; l++)
      v[l] = k + l < count ? load(columns + (k0 + k + l) * ld) : Vec<T>{};
    transpose_lanes<T>(v);
    for (int j = 0; j < L; j++)
      if (T* to = row(j)) store_part(to + k, v[j], count - k);
  }
}

// From the transposed gradients to PyTorch's layout.
template <class T>
void unpack(const ScanArgs& a, const Sizes<T>& s, const WeightGradients<T>& d) {
  constexpr int L = kLanes<T>;
  const ScanWeights& out = a.d_weights;
  const int64_t K = s.hidden, R = s.glimpses, Z = s.latent;
  auto row_of = [](void* to, int64_t row, int64_t ld, int64_t first) {
    return to ? static_cast<T*>(to) + row * ld + first : nullptr;
  };
  in_parallel(a.shape.threads, s.hidden_padded, [&](int part, int parts) {
    for (int64_t n = part * L; n < 4 * s.hidden_padded; n += parts * L) {
      const Interleaved at = deinterleaved<T>(n, 4);
      auto put = [&](const T* from, int64_t k, int64_t count, void* to, int64_t ld, int64_t first) {
        if (to)
          unpack_columns(from, d.ld_gates, k, count, [&](int j) {
            return at.unit + j < K ? row_of(to, at.part * K + at.unit + j, ld, first) : nullptr;
          });
      };
      put(d.dec + n, 0, K, out.dec_w_hh, K, 0);
      put(d.dec + n, K, 1, out.dec_b_ih, 1, 0);
      put(d.dec + n, K, 1, out.dec_b_hh, 1, 0);
      put(d.dec + n, K + 1, Z, out.dec_w_ih, Z, 0);
      put(d.enc + n, 0, R, out.enc_w_ih, R + K, 0);
      put(d.enc + n, R, 1, out.enc_b_ih, 1, 0);
      put(d.enc + n, R, 1, out.enc_b_hh, 1, 0);
      put(d.enc + n, R + 1, K, out.enc_w_hh, K, 0);
      put(d.enc + n, R + 1 + K, K, out.enc_w_ih, R + K, R);
    }
    for (int64_t n = part * L; n < 2 * s.latent_padded; n += parts * L) {
      const Interleaved at = deinterleaved<T>(n, 2);
      auto put = [&](int64_t k, int64_t count, void* to, int64_t ld) {
        unpack_columns(d.posterior + n, d.ld_posterior, k, count, [&](int j) {
          return at.unit + j < Z ? row_of(to, at.part * Z + at.unit + j, ld, 0) : nullptr;
        });
      };
      put(0, 1, out.posterior_b, 1);
      put(1, K, out.posterior_w, K);
    }
    for (int64_t n = part * L; n < s.projections; n += parts * L) {
      auto put = [&](int64_t k, int64_t count, void* patch, void* write, void* read, int64_t ld) {
        unpack_columns(d.projection + n, d.ld_projection, k, count, [&](int j) -> T* {
          const int64_t c = n + j, c_write = c - s.patch, c_read = c_write - 5;
          if (c_write < 0) return row_of(patch, c, ld, 0);
          if (c >= s.projections) return nullptr;
          return c_read < 0 ? row_of(write, c_write, ld, 0) : row_of(read, c_read, ld, 0);
        });
      };
      put(0, K, out.patch_w, out.write_w, out.read_w, K);
      put(K, 1, out.patch_b, out.write_b, out.read_b, 1);
    }
  });
}

// Rows of a segment: few enough that gradients of gates stay in the cache until the weights take
// them, enough that a weight gradient is not rewritten, nor the threads halted, for a handful.
constexpr int64_t kSegmentRows = 512;

template <class T>
void backward(const ScanArgs& args) {
  const Sizes<T> s(args.shape);
  const int threads = args.shape.threads;
  // Forward may run again in here: it must write no output a second time.
  ScanArgs a = args;
  a.kl = a.canvas = a.prior_canvas = nullptr;
  a.canvases = a.read_params = a.write_params = a.prior_canvases = a.prior_write_params = nullptr;

  Group<T> groups[2] = {{s, true}, {s, false}};
  int64_t segment = s.segment;
  if (!s.recompute) {
    const int64_t rows = s.steps * larger(s.batch, s.prior_batch);
    const int64_t segments = larger<int64_t>(1, smaller(s.steps, rows / kSegmentRows));
    segment = (s.steps + segments - 1) / segments;
  }

  const Workspace block(ForwardSpace<T>(s, groups, !s.recompute, threads, nullptr).bytes);
  const ForwardSpace<T> space(s, groups, !s.recompute, threads, block.data());
  PackedWeights<T> weights(s);

  const int64_t gradient_each = product_scratch_bytes<T>(s.bf16);
  struct Gradients {
    GroupGradient<T> d[2];
    WeightGradients<T> out;
    char *weights, *scratch;
  };
  auto layout = [&](Arena<T>& arena) {
    const GroupGradient<T> posterior(s, groups[0], segment, a.d_x != nullptr, arena);
    const GroupGradient<T> prior(s, groups[1], segment, false, arena);
    const WeightGradients<T> out(s, weights, arena);
    char* more = arena.template take<char>(s.recompute ? weights.bytes() : 0);
    return Gradients{
        {posterior, prior}, out, more, arena.template take<char>(threads * gradient_each)};
  };
  Arena<T> counted(nullptr);
  layout(counted);
  const Workspace second_block(counted.bytes());
  Arena<T> arena(second_block.data());
  const Gradients all = layout(arena);
  Arena<T> own_place(space.weights), other_place(all.weights);
  weights.place_backward(s.recompute ? other_place : own_place);
  if (s.recompute) weights.place_forward(own_place);

  Group<T> saved[2] = {groups[0], groups[1]};
  if (!s.recompute) {
    Arena<T> from(a.saved);
    for (Group<T>& g : saved) g.place(s, s.steps, from);
  }
  pack_backward(a, s, weights);
  if (s.recompute) pack_forward(a, s, weights);

  auto over_samples = [&](const auto& f) {
    in_parallel(threads, larger(s.batch, s.prior_batch), [&](int part, int parts) {
      const ThreadScratch<T> scratch = space.scratch_of(s, part);
      for (int i = 0; i < 2; i++)
        over_tiles<T>(groups[i].rows, part, parts,
                      [&](int64_t b0, int64_t m) { f(i, scratch, b0, m); });
    });
  };
  over_samples([&](int i, const ThreadScratch<T>&, int64_t b0, int64_t m) {
    const Group<T>& g = groups[i];
    if (g.encoder)
      for (int64_t b = b0; b < b0 + m; b++)
        pad_rows(static_cast<const T*>(a.x) + b * s.pixels, s.image_rows, s.width, s.ld,
                 g.x + b * s.image);
    start_backward(a, s, g, all.d[i], b0, m);
  });
  const int64_t segments = segment ? (s.steps + segment - 1) / segment : 0;
  all.out.clear(s, weights, segments == 0);
  for (int64_t i = segments - 1; i >= 0; i--) {
    const int64_t first = i * segment, n = smaller(segment, s.steps - first);
    const int64_t from = s.recompute ? 0 : first;
    const Group<T> here[2] = {saved[0].from_step(s, from), saved[1].from_step(s, from)};
    over_samples([&](int k, const ThreadScratch<T>& scratch, int64_t b0, int64_t m) {
      const Group<T>& g = here[k];
      if (s.recompute) {
        if (first == 0)
          start_samples(a, s, g, scratch, n, b0, m);
        else
          restore_state(s, checkpoint_of(a, s, g, i), g, n, b0, m);
        forward_steps(a, s, weights, g, scratch, first, n, b0, m);
      }
      backward_steps(a, s, weights, g, all.d[k], scratch, first, n, b0, m);
    });
    add_weight_gradients(a, s, weights, here, all.d, all.out, first, n, i < segments - 1,
                         all.scratch, gradient_each);
  }
  if (a.d_x)
    for (int64_t b = 0; b < s.batch; b++)
      unpad_rows(all.d[0].x + b * s.image, s.image_rows, s.width, s.ld,
                 static_cast<T*>(a.d_x) + b * s.pixels);
  unpack(a, s, all.out);
}

}  // namespace

void draw_scan_backward(const ScanArgs& a) {
  a.shape.double_precision ? backward<double>(a) : backward<float>(a);
}

}  // namespace drawgan::DRAWGAN_ISA
