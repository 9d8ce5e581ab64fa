// Where everything of the recurrence lies in memory.
//
// One row per (t, sample) holds every input of every matrix product of step t, so that nothing is
// concatenated or copied; the ones multiply the biases:
//
//     row(t) = [ r_t (R) | 1 | h_enc_{t-1} (K) | h_dec_{t-1} (K) | 1 | z_t (Z) ]
//
//     encoder     gates_e = row(t)   [r, 1, h_enc, h_dec]
//     posterior   mu, ls  = row(t+1) [1, h_enc]
//     decoder     gates_d = row(t)   [h_dec, 1, z]
//     projection  P(t+1)  = row(t+1) [h_dec, 1]     patch | write window (5) | read window of t+1
//     (5)
//
// A prior sample's row is the decoder's part alone. "Boundary" k is the write of step k-1 and the
// read of step k. The T steps are cut into segments; arrays hold one segment, whose steps count
// from 0, and boundaries 0..n.
#pragma once

#include <initializer_list>
#include <stdexcept>

#include "attention.h"
#include "kernels.h"
#include "lstm.h"

namespace drawgan::DRAWGAN_ISA {

template <class T>
struct Sizes {
  int64_t steps, batch, prior_batch;
  AttentionSize read, write;
  bool attention, bf16, recompute;
  int64_t hidden, latent, pixels;        // K, Z, C*H*W
  int64_t image_rows, width, ld;         // an image as C*H padded rows
  int64_t glimpses, patch, projections;  // R; numbers of a patch; columns of P
  int64_t hidden_padded, latent_padded, glimpses_padded;
  int64_t ld_gates, ld_posterior, ld_projection, ld_hidden, image;
  int64_t segment;  // steps kept together when forward runs again in backward

  explicit Sizes(const ScanShape& s)
      : steps(s.steps),
        batch(s.batch),
        prior_batch(s.prior_batch),
        read{s.channels, s.height, s.width, s.read_size},
        write{s.channels, s.height, s.width, s.write_size},
        attention(s.attention),
        bf16(s.bf16 && kHaveBf16 && sizeof(T) == 4),
        recompute(s.recompute),
        hidden(s.hidden),
        latent(s.latent) {
    check(s);
    pixels = s.channels * s.height * s.width;
    image_rows = s.channels * s.height;
    width = s.width;
    ld = round_up(width, kLanes<T>);
    image = image_rows * ld;
    glimpses = 2 * (attention ? s.channels * s.read_size * s.read_size : pixels);
    patch = attention ? s.channels * s.write_size * s.write_size : pixels;
    projections = patch + (attention ? 10 : 0);
    constexpr int64_t L = kLanes<T>;
    hidden_padded = round_up(hidden, L);
    latent_padded = round_up(latent, L);
    glimpses_padded = round_up(glimpses, L);
    ld_gates = odd_lines<T>(4 * hidden_padded);
    ld_posterior = odd_lines<T>(2 * latent_padded);
    ld_projection = odd_lines<T>(round_up(projections, L));
    ld_hidden = odd_lines<T>(hidden_padded);
    segment = 1;
    while (segment * segment < steps) segment++;
  }

  // Every array's size stays far below what 64 bits count, so no later product can wrap.
  static void check(const ScanShape& s) {
    const double pixels = static_cast<double>(s.channels) * s.height * (s.width + 16.0);
    const double windows =
        static_cast<double>(s.channels) * (static_cast<double>(s.read_size) * s.read_size +
                                           static_cast<double>(s.write_size) * s.write_size);
    const double filters = 4.0 * (s.read_size + s.write_size + 32.0) * (s.height + s.width + 32.0);
    const double row =
        16.0 * (s.hidden + 32.0) + 8.0 * (s.latent + 32.0) + 4 * windows + 4 * pixels;
    const double rows = (s.steps + 1.0) * (static_cast<double>(s.batch) + s.prior_batch + 1);
    if (rows * row + 64 * row * row + filters > 0x1p56)
      throw std::overflow_error(
          "draw_scan: the sizes ask for more numbers than can be counted; check steps, batch, "
          "hidden_size, image_size and the window sizes");
  }
};

// Samples that go through the recurrence together: posterior ones, with an encoder, or prior ones.
template <class T>
struct Group {
  bool encoder;
  int64_t rows;             // samples
  int64_t h_enc, h_dec, z;  // offsets in a row; R is the 1 before h_enc, h_dec + K the one before z
  int64_t ld;

  T *S = nullptr, *gates_enc = nullptr, *gates_dec = nullptr, *c_enc = nullptr, *c_dec = nullptr;
  T *P = nullptr, *sigmoid = nullptr;
  T *canvas = nullptr, *x = nullptr;  // [samples, image], running
  double* kl = nullptr;               // [samples], running: long sums of like terms

  Group(const Sizes<T>& s, bool with_encoder)
      : encoder(with_encoder), rows(with_encoder ? s.batch : s.prior_batch) {
    h_enc = s.glimpses + 1;
    h_dec = encoder ? h_enc + s.hidden : 0;
    z = h_dec + s.hidden + 1;
    ld = odd_lines<T>(z + s.latent_padded);
  }
  // Arrays of a segment of n steps.
  void place(const Sizes<T>& s, int64_t n, Arena<T>& arena) {
    S = arena.take((n + 1) * rows * ld);
    gates_dec = arena.take(n * rows * s.ld_gates);
    c_dec = arena.take((n + 1) * rows * s.hidden_padded);
    P = arena.take((n + 1) * rows * s.ld_projection);
    if (!encoder) return;
    gates_enc = arena.take(n * rows * s.ld_gates);
    c_enc = arena.take((n + 1) * rows * s.hidden_padded);
    sigmoid = arena.take((n + 1) * rows * s.image);
  }
  // The same arrays, counted from step t on.
  Group from_step(const Sizes<T>& s, int64_t t) const {
    Group g = *this;
    g.S += t * rows * ld;
    g.gates_dec += t * rows * s.ld_gates;
    g.c_dec += t * rows * s.hidden_padded;
    g.P += t * rows * s.ld_projection;
    if (!encoder) return g;
    g.gates_enc += t * rows * s.ld_gates;
    g.c_enc += t * rows * s.hidden_padded;
    g.sigmoid += t * rows * s.image;
    return g;
  }
  T* row(int64_t t, int64_t b) const { return S + (t * rows + b) * ld; }
};

// The state from which a segment starts, for samples of one group.
template <class T>
struct Checkpoint {
  T *row, *c_enc, *c_dec, *canvas;

  Checkpoint(const Sizes<T>& s, const Group<T>& g, Arena<T>& arena) {
    row = arena.take(g.rows * g.ld);
    c_dec = arena.take(g.rows * s.hidden_padded);
    canvas = arena.take(g.rows * s.image);
    c_enc = g.encoder ? arena.take(g.rows * s.hidden_padded) : nullptr;
  }
};

template <class T>
static inline int64_t checkpoint_bytes(const Sizes<T>& s, const Group<T>& g) {
  Arena<T> counted(nullptr);
  Checkpoint<T> counting(s, g, counted);
  return counted.bytes();
}
// The state before segment i, in what forward saved when it is to run again.
template <class T>
static inline Checkpoint<T> checkpoint_of(const ScanArgs& a, const Sizes<T>& s, const Group<T>& g,
                                          int64_t i) {
  const int64_t posterior = checkpoint_bytes(s, Group<T>(s, true));
  const int64_t prior = checkpoint_bytes(s, Group<T>(s, false));
  Arena<T> saved(static_cast<char*>(a.saved) + i * (posterior + prior) +
                 (g.encoder ? 0 : posterior));
  return Checkpoint<T>(s, g, saved);
}

// The weights as the products want them.
template <class T>
struct PackedWeights {
  Packed<T> enc, dec, posterior, projection;  // forward
  Packed<T> enc_to_h_enc, enc_to_h_dec, enc_to_r, dec_to_h_dec, dec_to_z, posterior_to_h,
      projection_to_h;  // backward: transposed

  explicit PackedWeights(const Sizes<T>& s) : bf16_(s.bf16) {
    const int64_t K = s.hidden, R = s.glimpses, Z = s.latent, gates = 4 * s.hidden_padded;
    enc = sized(R + 1 + 2 * K, gates);
    dec = sized(K + 1 + Z, gates);
    posterior = sized(1 + K, 2 * s.latent_padded);
    projection = sized(K + 1, s.projections);
    enc_to_h_enc = enc_to_h_dec = dec_to_h_dec = sized(gates, K);
    enc_to_r = sized(gates, R);
    dec_to_z = sized(gates, Z);
    posterior_to_h = sized(2 * s.latent_padded, K);
    projection_to_h = sized(s.projections, K);
  }
  void place_forward(Arena<T>& arena) {
    for (Packed<T>* p : {&enc, &dec, &posterior, &projection}) place(p, arena);
  }
  void place_backward(Arena<T>& arena) {
    for (Packed<T>* p : {&enc_to_h_enc, &enc_to_h_dec, &enc_to_r, &dec_to_h_dec, &dec_to_z,
                         &posterior_to_h, &projection_to_h})
      place(p, arena);
  }
  // Either of the two fits.
  int64_t bytes() const {
    PackedWeights copy = *this;
    Arena<T> forward(nullptr), backward(nullptr);
    copy.place_forward(forward);
    copy.place_backward(backward);
    return larger(forward.bytes(), backward.bytes());
  }

 private:
  static Packed<T> sized(int64_t K, int64_t N) {
    return {nullptr, nullptr, K, round_up(N, kLanes<T>)};
  }
  void place(Packed<T>* p, Arena<T>& arena) {
    p->data = arena.take(p->K * p->N);
    if (bf16_) p->pairs = arena.template take<uint32_t>((p->K + 1) / 2 * p->N);
  }
  bool bf16_;
};

void pack_forward(const ScanArgs& a, const Sizes<float>& s, const PackedWeights<float>& w);
void pack_forward(const ScanArgs& a, const Sizes<double>& s, const PackedWeights<double>& w);
void pack_backward(const ScanArgs& a, const Sizes<float>& s, const PackedWeights<float>& w);
void pack_backward(const ScanArgs& a, const Sizes<double>& s, const PackedWeights<double>& w);

// Gradients of gates. In bf16 if the products are: nothing but these reads them.
template <class T>
struct GateRows {
  int64_t ld = 0;
  T* data = nullptr;
  uint16_t* half = nullptr;

  GateRows() = default;
  GateRows(const Sizes<T>& s, int64_t rows, Arena<T>& arena) : ld(s.ld_gates) {
    if (s.bf16)
      half = arena.template take<uint16_t>(rows * ld);
    else
      data = arena.take(rows * ld);
  }
  GateRows from(int64_t row) const {
    GateRows later = *this;
    if (half)
      later.half += row * ld;
    else
      later.data += row * ld;
    return later;
  }
  void put(int64_t row, int64_t column, Vec<T> v) const {
    if constexpr (kHaveBf16 && sizeof(T) == 4)
      if (half) return store_half(half + row * ld + column, v);
    store(data + row * ld + column, v);
  }
  void prefetch(int64_t row, int64_t column) const {
    const int64_t at = row * ld + column;
    __builtin_prefetch(half ? static_cast<const void*>(half + at) : data + at, 1);
  }
  operator Rows<T>() const { return {data, ld, half, ld}; }
};

// Gradients of one group: of a segment's gates, posteriors and projections, and the running ones.
template <class T>
struct GroupGradient {
  GateRows<T> gates_enc, gates_dec;                   // rows of the segment, as in Group
  T *posterior, *P;                                   // the same
  T *h_enc, *h_dec, *c_enc, *c_dec, *r, *z, *canvas;  // one row a sample
  T* x;                                               // [samples, image] or null

  GroupGradient(const Sizes<T>& s, const Group<T>& g, int64_t n, bool wants_x, Arena<T>& arena) {
    const int64_t B = g.rows;
    gates_dec = {s, n * B, arena};
    P = arena.take((n + 1) * B * s.ld_projection);
    h_dec = arena.take(B * s.ld_hidden);
    c_dec = arena.take(B * s.hidden_padded);
    z = arena.take(B * s.latent_padded);
    canvas = arena.take(B * s.image);
    x = nullptr;
    if (!g.encoder) return;
    gates_enc = {s, n * B, arena};
    posterior = arena.take(n * B * s.ld_posterior);
    h_enc = arena.take(B * s.ld_hidden);
    c_enc = arena.take(B * s.hidden_padded);
    r = arena.take(B * s.glimpses_padded);
    if (wants_x) x = arena.take(B * s.image);
  }
};

// One thread's scratch.
template <class T>
struct ThreadScratch {
  AttentionScratch<T> attention;
  T *image, *error;  // [C, H, ld]
  T* posterior;      // [tile, ld_posterior]
  uint16_t* half;    // rows in bf16

  static constexpr int64_t tile = 64;  // samples carried together: a tile's gates stay in L2

  ThreadScratch(const Sizes<T>& s, Arena<T>& arena)
      : attention(s.read.N > s.write.N ? s.read : s.write, 2, arena) {
    image = arena.take(s.image);
    error = arena.take(s.image);
    posterior = arena.take(tile * s.ld_posterior);
    const int64_t widest =
        larger(larger(4 * s.hidden_padded, s.glimpses + 1 + 2 * s.hidden),
               larger(larger(s.hidden + 1 + s.latent, s.projections), 2 * s.latent_padded));
    half = arena.template take<uint16_t>(s.bf16 ? tile * half_row(widest) : 0);
  }
  static int64_t bytes(const Sizes<T>& s) {
    Arena<T> counted(nullptr);
    ThreadScratch counting(s, counted);
    return counted.bytes();
  }
};

// What forward works in. Backward asks for a block of just this size first, gets forward's back
// from the pool, and so needs no memory twice.
template <class T>
struct ForwardSpace {
  char *weights, *scratch;
  int64_t scratch_each, bytes;

  // Places the groups' running arrays too, and unless forward keeps everything those of a segment.
  ForwardSpace(const Sizes<T>& s, Group<T> (&groups)[2], bool keeps_all, int threads, void* base)
      : scratch_each(ThreadScratch<T>::bytes(s)) {
    Arena<T> arena(base);
    weights = arena.template take<char>(PackedWeights<T>(s).bytes());
    for (Group<T>& g : groups) {
      if (!keeps_all) g.place(s, smaller(s.segment, s.steps), arena);
      g.canvas = arena.take(g.rows * s.image);
      if (!g.encoder) continue;
      g.x = arena.take(g.rows * s.image);
      g.kl = arena.template take<double>(g.rows);
    }
    scratch = arena.template take<char>(threads * scratch_each);
    bytes = arena.bytes();
  }
  ThreadScratch<T> scratch_of(const Sizes<T>& s, int part) const {
    Arena<T> own(scratch + part * scratch_each);
    return {s, own};
  }
};

template <class T>
DRAWGAN_INLINE Rows<T> rows_of(const Sizes<T>& s, const T* A, int64_t ld, int64_t m, int64_t K,
                               uint16_t* scratch) {
  if constexpr (sizeof(T) == 4)
    if (s.bf16) return halved(A, ld, m, K, scratch);
  return {A, ld};
}

// Tiles of a thread's share of n samples: f(first, count).
template <class T, class F>
static inline void over_tiles(int64_t n, int part, int parts, const F& f) {
  const int64_t end = n * (part + 1) / parts;
  for (int64_t b = n * part / parts; b < end; b += ThreadScratch<T>::tile)
    f(b, smaller(ThreadScratch<T>::tile, end - b));
}

// Runs forward over steps [first, first + n) for samples [b0, b0 + m) of a group whose arrays start
// at step `first`; row 0 holds the state. Writes outputs and traces where the arguments have them.
template <class T>
void forward_steps(const ScanArgs& a, const Sizes<T>& s, const PackedWeights<T>& w,
                   const Group<T>& g, const ThreadScratch<T>& scratch, int64_t first, int64_t n,
                   int64_t b0, int64_t m);
// Puts samples at the start of the recurrence: zero states, an empty canvas, the first read.
template <class T>
void start_samples(const ScanArgs& a, const Sizes<T>& s, const Group<T>& g,
                   const ThreadScratch<T>& scratch, int64_t n, int64_t b0, int64_t m);
// Puts the state of a checkpoint into row 0 of a group whose arrays hold n steps.
template <class T>
void restore_state(const Sizes<T>& s, const Checkpoint<T>& from, const Group<T>& g, int64_t n,
                   int64_t b0, int64_t m);

}  // namespace drawgan::DRAWGAN_ISA
