// The recurrence, forward. Samples are independent through all T steps, so each thread carries its
// share of the batch from the first read to the last write and meets nobody on the way.
#include "draw_boundary.h"
#include "draw_layout.h"
#include "threads.h"
#include "workspace.h"

namespace drawgan::DRAWGAN_ISA {
namespace {

// Gates of m rows, then states: h goes to the next row of S.
template <class T>
void lstm_rows(const Sizes<T>& s, T* gates, const T* c_prev, T* c, T* h, int64_t ld_h, int64_t m) {
  constexpr int L = kLanes<T>;
  for (int64_t r = 0; r < m; r++)
    for (int64_t u = 0; u < s.hidden; u += L) {
      Vec<T> c_new, h_new;
      lstm_forward(gates + r * s.ld_gates + 4 * u, load(c_prev + r * s.hidden_padded + u), &c_new,
                   &h_new);
      store(c + r * s.hidden_padded + u, c_new);
      store_part(h + r * ld_h + u, h_new, s.hidden - u);
    }
}

}  // namespace

template <class T>
void start_samples(const ScanArgs& a, const Sizes<T>& s, const Group<T>& g,
                   const ThreadScratch<T>& scratch, int64_t n, int64_t b0, int64_t m) {
  for (int64_t b = b0; b < b0 + m; b++) {
    memset(g.row(0, b), 0, g.ld * sizeof(T));
    for (int64_t t = 0; t <= n; t++) {
      g.row(t, b)[g.z - 1] = 1;
      if (g.encoder) g.row(t, b)[g.h_enc - 1] = 1;
    }
    memset(g.c_dec + b * s.hidden_padded, 0, s.hidden_padded * sizeof(T));
    memset(g.canvas + b * s.image, 0, s.image * sizeof(T));
    if (!g.encoder) continue;
    memset(g.c_enc + b * s.hidden_padded, 0, s.hidden_padded * sizeof(T));
    g.kl[b] = 0;
    pad_rows(static_cast<const T*>(a.x) + b * s.pixels, s.image_rows, s.width, s.ld,
             g.x + b * s.image);
    if (s.steps == 0) continue;
    T* P = g.P + b * s.ld_projection;
    if (s.attention)  // h_dec = 0: the first read window is its bias
      for (int i = 0; i < 5; i++) P[s.patch + 5 + i] = static_cast<const T*>(a.weights.read_b)[i];
    Boundary<T>{a, s, g, scratch}.run(0, 0, b, false, true);
  }
}

template <class T>
void forward_steps(const ScanArgs& a, const Sizes<T>& s, const PackedWeights<T>& w,
                   const Group<T>& g, const ThreadScratch<T>& scratch, int64_t first, int64_t n,
                   int64_t b0, int64_t m) {
  constexpr int L = kLanes<T>;
  const Boundary<T> boundary{a, s, g, scratch};
  const T* eps = static_cast<const T*>(g.encoder ? a.eps : a.prior_eps);
  // Inputs [from, to) of a product; the others are zeros.
  auto part = [&](const T* A, const Packed<T>& B, T* C, int64_t ldc, int64_t from, int64_t to) {
    multiply(rows_of(s, A, g.ld, m, B.K, scratch.half), B, C, ldc, m, false, from, to);
  };
  auto product = [&](const T* A, const Packed<T>& B, T* C, int64_t ldc) {
    part(A, B, C, ldc, 0, B.K);
  };
  for (int64_t t = 0; t < n; t++) {
    const int64_t at = t * g.rows + b0, next = at + g.rows, step = (first + t) * g.rows + b0;
    const bool from_nothing = first + t == 0;  // the states are still zero
    if (g.encoder) {
      T* gates = g.gates_enc + at * s.ld_gates;
      part(g.row(t, b0), w.enc, gates, s.ld_gates, 0, from_nothing ? s.glimpses + 1 : w.enc.K);
      lstm_rows(s, gates, g.c_enc + at * s.hidden_padded, g.c_enc + next * s.hidden_padded,
                g.row(t + 1, b0) + g.h_enc, g.ld, m);
      product(g.row(t + 1, b0) + g.h_enc - 1, w.posterior, scratch.posterior, s.ld_posterior);
    }
    for (int64_t r = 0; r < m; r++) {
      T* z = g.row(t, b0 + r) + g.z;
      const int64_t out = (step + r) * s.latent;
      Vec<T> kl{};
      for (int64_t u = 0; u < s.latent; u += L) {
        const int64_t count = s.latent - u;
        const Vec<T> e = load_part(eps + out + u, count);
        if (!g.encoder) {
          store(z + u, e);
          continue;
        }
        const T* q = scratch.posterior + r * s.ld_posterior + 2 * u;
        const Vec<T> mu = load(q), log_sigma = load(q + L);
        const Vec<T> sigma = vexp(log_sigma);
        store(z + u, mu + sigma * e);
        if (!a.kl) continue;                             // forward again: nobody asks a second time
        kl += kl_standard_normal(mu, log_sigma, sigma);  // 0 in padding, where both are 0
        store_part(static_cast<T*>(a.mu) + out + u, mu, count);
        store_part(static_cast<T*>(a.log_sigma) + out + u, log_sigma, count);
      }
      if (g.encoder) g.kl[b0 + r] += sum_of_lanes<T>(kl);
    }
    T* gates = g.gates_dec + at * s.ld_gates;
    part(g.row(t, b0) + g.h_dec, w.dec, gates, s.ld_gates, from_nothing ? s.hidden : 0, w.dec.K);
    lstm_rows(s, gates, g.c_dec + at * s.hidden_padded, g.c_dec + next * s.hidden_padded,
              g.row(t + 1, b0) + g.h_dec, g.ld, m);
    product(g.row(t + 1, b0) + g.h_dec, w.projection, g.P + next * s.ld_projection,
            s.ld_projection);
    const bool read = g.encoder && first + t + 1 < s.steps;
    for (int64_t b = b0; b < b0 + m; b++) boundary.run(first, t + 1, b, true, read);
  }
}

template <class T>
void restore_state(const Sizes<T>& s, const Checkpoint<T>& from, const Group<T>& g, int64_t n,
                   int64_t b0, int64_t m) {
  const int64_t c = s.hidden_padded;
  memcpy(g.row(0, b0), from.row + b0 * g.ld, m * g.ld * sizeof(T));
  memcpy(g.c_dec + b0 * c, from.c_dec + b0 * c, m * c * sizeof(T));
  memcpy(g.canvas + b0 * s.image, from.canvas + b0 * s.image, m * s.image * sizeof(T));
  if (g.encoder) memcpy(g.c_enc + b0 * c, from.c_enc + b0 * c, m * c * sizeof(T));
  for (int64_t b = b0; b < b0 + m; b++)
    for (int64_t t = 1; t <= n; t++) {
      g.row(t, b)[g.z - 1] = 1;
      if (g.encoder) g.row(t, b)[g.h_enc - 1] = 1;
    }
}

namespace {

// What is kept for backward: every array of all T steps, or the state before each segment.
template <class T>
void keep(const Sizes<T>& s, Group<T>* groups, Arena<T>& arena) {
  for (int i = 0; i < 2; i++) groups[i].place(s, s.steps, arena);
}
// The state at row 0 into a checkpoint.
template <class T>
void save_state(const Sizes<T>& s, const Group<T>& g, const Checkpoint<T>& to, int64_t b0,
                int64_t m) {
  const int64_t c = s.hidden_padded;
  memcpy(to.row + b0 * g.ld, g.row(0, b0), m * g.ld * sizeof(T));
  memcpy(to.c_dec + b0 * c, g.c_dec + b0 * c, m * c * sizeof(T));
  memcpy(to.canvas + b0 * s.image, g.canvas + b0 * s.image, m * s.image * sizeof(T));
  if (g.encoder) memcpy(to.c_enc + b0 * c, g.c_enc + b0 * c, m * c * sizeof(T));
}
template <class T>
int64_t segments_of(const Sizes<T>& s) {
  return (s.steps + s.segment - 1) / s.segment;
}
template <class T>
int64_t saved_bytes(ScanShape shape, int64_t batch, int64_t prior_batch) {
  shape.batch = batch;
  shape.prior_batch = prior_batch;
  const Sizes<T> s(shape);
  Group<T> groups[2] = {{s, true}, {s, false}};
  if (s.recompute)
    return segments_of(s) * (checkpoint_bytes(s, groups[0]) + checkpoint_bytes(s, groups[1]));
  Arena<T> counted(nullptr);
  keep(s, groups, counted);
  return counted.bytes();
}
template <class T>
SavedBytes saved_bytes(const ScanShape& shape) {
  // 64 samples of anything fill whole cache lines, so that this is the exact rate; each of an
  // array's ends may then need a line more.
  constexpr int64_t many = 64;
  const int64_t constant = 16 * 64 * (shape.recompute ? segments_of(Sizes<T>(shape)) : 1);
  return {saved_bytes<T>(shape, many, 0) / many, saved_bytes<T>(shape, 0, many) / many, constant};
}

// Row n becomes row 0: the next segment goes on where this one ended.
template <class T>
void carry(const Sizes<T>& s, const Group<T>& g, int64_t n, int64_t b0, int64_t m) {
  const int64_t c = s.hidden_padded, at = n * g.rows + b0;
  memcpy(g.row(0, b0), g.row(n, b0), m * g.ld * sizeof(T));
  memcpy(g.c_dec + b0 * c, g.c_dec + at * c, m * c * sizeof(T));
  if (g.encoder) memcpy(g.c_enc + b0 * c, g.c_enc + at * c, m * c * sizeof(T));
}

template <class T>
void forward(const ScanArgs& a) {
  const Sizes<T> s(a.shape);
  Group<T> groups[2] = {{s, true}, {s, false}};
  const bool keeps_all = a.saved && !s.recompute;
  const int threads = a.shape.threads;
  const Workspace block(ForwardSpace<T>(s, groups, keeps_all, threads, nullptr).bytes);
  const ForwardSpace<T> space(s, groups, keeps_all, threads, block.data());
  PackedWeights<T> weights(s);
  Arena<T> place(space.weights);
  weights.place_forward(place);
  if (keeps_all) {
    Arena<T> saved(a.saved);
    keep(s, groups, saved);
  }
  pack_forward(a, s, weights);

  in_parallel(threads, larger(s.batch, s.prior_batch), [&](int part, int parts) {
    const ThreadScratch<T> scratch = space.scratch_of(s, part);
    for (const Group<T>& g : groups)
      over_tiles<T>(g.rows, part, parts, [&](int64_t b0, int64_t m) {
        const int64_t segment = keeps_all ? s.steps : s.segment;
        start_samples(a, s, g, scratch, smaller(segment, s.steps), b0, m);
        for (int64_t first = 0, i = 0; first < s.steps; first += segment, i++) {
          const int64_t n = smaller(segment, s.steps - first);
          if (first > 0) carry(s, g, segment, b0, m);
          if (a.saved && s.recompute) save_state(s, g, checkpoint_of(a, s, g, i), b0, m);
          forward_steps(a, s, weights, g, scratch, first, n, b0, m);
        }
        T* out = static_cast<T*>(g.encoder ? a.canvas : a.prior_canvas);
        for (int64_t b = b0; b < b0 + m; b++) {
          unpad_rows(g.canvas + b * s.image, s.image_rows, s.width, s.ld, out + b * s.pixels);
          if (g.encoder) static_cast<T*>(a.kl)[b] = static_cast<T>(g.kl[b]);
        }
      });
  });
}

}  // namespace

SavedBytes scan_saved_bytes(const ScanShape& shape) {
  return shape.double_precision ? saved_bytes<double>(shape) : saved_bytes<float>(shape);
}
void draw_scan(const ScanArgs& a) {
  a.shape.double_precision ? forward<double>(a) : forward<float>(a);
}

#define INSTANTIATE(T)                                                                            \
  template void start_samples<T>(const ScanArgs&, const Sizes<T>&, const Group<T>&,               \
                                 const ThreadScratch<T>&, int64_t, int64_t, int64_t);             \
  template void forward_steps<T>(const ScanArgs&, const Sizes<T>&, const PackedWeights<T>&,       \
                                 const Group<T>&, const ThreadScratch<T>&, int64_t, int64_t,      \
                                 int64_t, int64_t);                                               \
  template void restore_state<T>(const Sizes<T>&, const Checkpoint<T>&, const Group<T>&, int64_t, \
                                 int64_t, int64_t);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace drawgan::DRAWGAN_ISA
