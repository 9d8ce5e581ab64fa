// Read and write of one sample. Images are padded: [C, H, ld] with ld a whole number of vectors and
// zeros (or anything finite) beyond the width. Everything is small matrix products with the filters
// of window.h; the gradient of a window is a few dot products with its derivative filters, so no
// gradient of a filter along the height is ever formed.
#pragma once

#include "arena.h"
#include "gemm.h"
#include "window.h"

namespace drawgan::DRAWGAN_ISA {

struct AttentionSize {
  int64_t channels, height, width, N;

  template <class T>
  int64_t ld() const {
    return round_up(width, kLanes<T>);
  }
  template <class T>
  int64_t ld_height() const {
    return round_up(height, kLanes<T>);
  }
  template <class T>
  int64_t image() const {  // numbers of a padded image
    return channels * height * ld<T>();
  }
};

// What a window needs while it works on one sample.
template <class T>
struct AttentionScratch {
  T *x, *y;    // filters, up to four sets
  T* V;        // filters along the height times an image, up to four sets of [N, ld]
  T* Z;        // what an image's gradient is made of, [N, ld]
  T* dF;       // [N, ld]
  T* patch;    // [C, N, N]
  T* image;    // [H, ld]
  T* columns;  // [W, N padded], F_x transposed
  T* square;   // [N, N padded]
  T* build;

  AttentionScratch(const AttentionSize& s, Arena<T>& arena) {
    const int64_t ld = s.ld<T>(), rows = s.N * ld, patches = s.channels * s.N * s.N;
    x = arena.take(4 * rows);
    y = arena.take(4 * s.N * s.ld_height<T>());
    V = arena.take(4 * rows);
    Z = arena.take(rows);
    dF = arena.take(rows);
    patch = arena.take(patches);
    image = arena.take(s.height * ld);
    columns = arena.take(s.width * round_up(s.N, kLanes<T>));
    square = arena.take(s.N * round_up(s.N, kLanes<T>));
    build = arena.take(filter_scratch<T>(s.N));
  }
};

template <class T>
struct Bank {  // a window with its filters
  Window<T> window;
  Filters<T> x, y;
  const T* x_columns;  // [W, N padded], F_x transposed; what lies beyond N is never looked at
  int sets;

  // `contracts`: the width of something will be contracted, see contract_width().
  Bank(const WindowMap& map, const AttentionSize& s, const T* params, bool derivatives,
       bool contracts, const AttentionScratch<T>& scratch)
      : window(window_of(map, params)), sets(filter_sets(map, derivatives)) {
    x = {{}, s.N, s.width, s.ld<T>()};
    y = {{}, s.N, s.height, s.ld_height<T>()};
    for (int i = 0; i < 4; i++) {
      x.set[i] = scratch.x + i * s.N * x.ld;
      y.set[i] = scratch.y + i * s.N * y.ld;
    }
    build_filters(map, window, window.x, x, derivatives, scratch.build);
    build_filters(map, window, window.y, y, derivatives, scratch.build);
    x_columns = scratch.columns;
    if (!contracts) return;
    const int64_t columns = round_up(s.N, kLanes<T>);
    for (int64_t i = 0; i < s.N; i++)
      for (int64_t p = 0; p < s.width; p++)
        scratch.columns[p * columns + i] = x.set[0][i * x.ld + p];
  }
};

// out[j, i] (or out[i, j] if transposed) = scale * <V[j], F_x[i]>, with V [N, ld].
template <class T>
static inline void contract_width(const Bank<T>& bank, const T* V, T scale, bool transposed,
                                  const AttentionScratch<T>& scratch, T* out) {
  const int64_t N = bank.x.N, ld = round_up(N, kLanes<T>);
  multiply(V, bank.x.ld, int64_t{1}, bank.x_columns, ld, scratch.square, ld, N, ld, bank.x.pixels,
           false);
  for (int64_t j = 0; j < N; j++)
    for (int64_t i = 0; i < N; i += kLanes<T>) {
      const Vec<T> row = load(scratch.square + j * ld + i) * scale;
      if (!transposed)
        store_part(out + j * N + i, row, N - i);
      else
        for (int64_t l = 0; l < smaller<int64_t>(kLanes<T>, N - i); l++)
          out[(i + l) * N + j] = row[static_cast<int>(l)];
    }
}

// V = filters along the height times one channel, for the first `sets` sets: [sets, N, ld].
template <class T>
static inline void project(const Bank<T>& bank, int sets, const T* image, T* V) {
  multiply(bank.y.set[0], bank.y.ld, int64_t{1}, image, bank.x.ld, V, bank.x.ld, sets * bank.y.N,
           bank.x.ld, bank.y.pixels, false);
}
// out[y] (+)= sum over j of F_y[j, y] Z[j]: [H, ld].
template <class T>
static inline void spread(const Bank<T>& bank, const T* Z, T* out, bool accumulate) {
  multiply(bank.y.set[0], int64_t{1}, bank.y.ld, Z, bank.x.ld, out, bank.x.ld, bank.y.pixels,
           bank.x.ld, bank.y.N, accumulate);
}

// glimpse [C, N, N] = intensity * F_y I F_x^T, one image through a bank.
template <class T>
static inline void read_image(const Bank<T>& bank, const AttentionSize& s, bool transposed,
                              const T* image, const AttentionScratch<T>& scratch, T* glimpse) {
  for (int64_t c = 0; c < s.channels; c++) {
    project(bank, 1, image + c * s.height * bank.x.ld, scratch.V);
    contract_width(bank, scratch.V, bank.window.intensity, transposed, scratch,
                   glimpse + c * s.N * s.N);
  }
}

// Sums of products of vectors, kept as vectors until the end.
template <class T>
struct WindowSums {
  Vec<T> x{}, y{}, delta{}, log_sigma2{}, log_intensity{};

  WindowGradient<T> gradient() const {
    WindowGradient<T> g;
    g.x = sum_of_lanes<T>(x);
    g.y = sum_of_lanes<T>(y);
    g.delta = sum_of_lanes<T>(delta);
    g.log_sigma2 = sum_of_lanes<T>(log_sigma2);
    g.log_intensity = sum_of_lanes<T>(log_intensity);
    return g;
  }
};

// Adds <G[i], derivative filters applied[i]> for one axis; G is dL/dF or what stands for it, `sets`
// the derivative sets (or their products with an image), [sets, N, ld] each.
template <class T>
DRAWGAN_INLINE void add_axis(const Bank<T>& bank, const T* G, const T* sets, int64_t ld,
                             Vec<T>* centre, WindowSums<T>& sums) {
  const int64_t N = bank.x.N;
  const T middle = T(0.5) * (N - 1);
  for (int64_t i = 0; i < N; i++) {
    Vec<T> along{}, delta{};
    for (int64_t v = 0; v < ld; v += kLanes<T>) {
      const int64_t at = i * ld + v;
      const Vec<T> g = load(G + at);
      along += g * load(sets + N * ld + at);
      sums.log_sigma2 += g * load(sets + 2 * N * ld + at);
      if (bank.sets == 4) delta += g * load(sets + 3 * N * ld + at);
    }
    *centre += along;
    sums.delta += bank.sets == 4 ? delta : (i - middle) * along;
  }
}
// The same along the width, where dL/dF is at hand: dF [N, ld].
template <class T>
DRAWGAN_INLINE void add_width(const Bank<T>& bank, const T* dF, WindowSums<T>& sums) {
  add_axis(bank, dF, bank.x.set[0], bank.x.ld, &sums.x, sums);
  for (int64_t at = 0; at < bank.x.N * bank.x.ld; at += kLanes<T>)
    sums.log_intensity += load(dF + at) * load(bank.x.set[0] + at);
}

// dL/d(glimpse) scaled by the intensity, as [C, N, N] in the window's own order.
template <class T>
static inline void scaled_patch(const T* from, const AttentionSize& s, T scale, bool transposed,
                                T* to) {
  const int64_t N = s.N;
  if (!transposed) {
    for (int64_t k = 0; k < s.channels * N * N; k++) to[k] = scale * from[k];
    return;
  }
  for (int64_t c = 0; c < s.channels; c++)
    for (int64_t j = 0; j < N; j++)
      for (int64_t i = 0; i < N; i++) to[(c * N + j) * N + i] = scale * from[(c * N + i) * N + j];
}

// Backward of a read through one bank. `patch` [C, N, N] is the scaled gradient of the glimpse;
// adds to the window's sums and to dF, and, if wanted, to d_image [C, H, ld].
template <class T>
static inline void read_image_backward(const Bank<T>& bank, const AttentionSize& s, const T* patch,
                                       const T* image, T* d_image, bool accumulate,
                                       const AttentionScratch<T>& scratch, bool first,
                                       WindowSums<T>& sums) {
  const int64_t N = s.N, ld = bank.x.ld, channel = s.height * ld;
  for (int64_t c = 0; c < s.channels; c++) {
    const T* d = patch + c * N * N;
    multiply(d, N, int64_t{1}, bank.x.set[0], ld, scratch.Z, ld, N, ld, N, false);
    project(bank, bank.sets, image + c * channel, scratch.V);
    add_axis(bank, scratch.Z, scratch.V, ld, &sums.y, sums);
    multiply(d, int64_t{1}, N, scratch.V, ld, scratch.dF, ld, N, ld, N, !(first && c == 0));
    if (d_image) spread(bank, scratch.Z, d_image + c * channel, accumulate);
  }
}

// canvas [C, H, ld] += intensity * F_y^T w F_x.
template <class T>
static inline void write_patch(const Bank<T>& bank, const AttentionSize& s, bool transposed,
                               const T* patch, T* canvas, const AttentionScratch<T>& scratch) {
  const int64_t N = s.N, ld = bank.x.ld;
  scaled_patch(patch, s, bank.window.intensity, transposed, scratch.patch);
  for (int64_t c = 0; c < s.channels; c++) {
    multiply(scratch.patch + c * N * N, N, int64_t{1}, bank.x.set[0], ld, scratch.Z, ld, N, ld, N,
             false);
    spread(bank, scratch.Z, canvas + c * s.height * ld, true);
  }
}

// Backward of a write: from d_canvas [C, H, ld] to d_patch [C, N, N] and the window's sums.
template <class T>
static inline void write_patch_backward(const Bank<T>& bank, const AttentionSize& s,
                                        bool transposed, const T* patch, const T* d_canvas,
                                        T* d_patch, const AttentionScratch<T>& scratch,
                                        WindowSums<T>& sums) {
  const int64_t N = s.N, ld = bank.x.ld;
  scaled_patch(patch, s, bank.window.intensity, transposed, scratch.patch);
  for (int64_t c = 0; c < s.channels; c++) {
    const T* w = scratch.patch + c * N * N;
    multiply(w, N, int64_t{1}, bank.x.set[0], ld, scratch.Z, ld, N, ld, N, false);
    project(bank, bank.sets, d_canvas + c * s.height * ld, scratch.V);
    add_axis(bank, scratch.Z, scratch.V, ld, &sums.y, sums);
    multiply(w, int64_t{1}, N, scratch.V, ld, scratch.dF, ld, N, ld, N, c > 0);
    contract_width(bank, scratch.V, bank.window.intensity, transposed, scratch,
                   d_patch + c * N * N);
  }
  add_width(bank, scratch.dF, sums);
}

// Rows of an image [C * H, W] into padded ones with zeros beyond the width, and back.
template <class T>
static inline void pad_rows(const T* from, int64_t rows, int64_t width, int64_t ld, T* to) {
  for (int64_t r = 0; r < rows; r++)
    for (int64_t v = 0; v < ld; v += kLanes<T>)
      store(to + r * ld + v, v < width ? load_part(from + r * width + v, width - v) : Vec<T>{});
}
template <class T>
static inline void unpad_rows(const T* from, int64_t rows, int64_t width, int64_t ld, T* to) {
  for (int64_t r = 0; r < rows; r++)
    for (int64_t v = 0; v < width; v += kLanes<T>)
      store_part(to + r * width + v, load(from + r * ld + v), width - v);
}

}  // namespace drawgan::DRAWGAN_ISA
