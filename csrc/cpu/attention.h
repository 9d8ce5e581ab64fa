// Read and write of one sample. Images are padded: [C, H, ld] with ld a whole number of vectors and
// zeros (or anything finite) beyond the width. Everything is small matrix products with the
// filters, which leave out the rows where a filter is 0.
#pragma once

#include "contract.h"
#include "filters.h"
#include "gemm.h"

namespace drawgan::DRAWGAN_ISA {

struct AttentionSize {
  int64_t channels, height, width, N;

  template <class T>
  int64_t ld() const {
    return round_up(width, kLanes<T>);
  }
  template <class T>
  int64_t image() const {  // numbers of a padded image
    return channels * height * ld<T>();
  }
  int64_t patch() const { return channels * N * N; }
};

// What a window needs while it works on one sample, with up to `views` images.
template <class T>
struct AttentionScratch {
  char* filters;  // of both axes
  T* V;           // filters along the height times an image, [views, C, N, ld]
  T* Z;           // what images' gradients are made of, [views, C, N, ld]
  T *d_x, *d_y;   // dL/dF of both axes
  T *Z_columns, *d_columns;
  T* patch;          // [views, C, N, N]
  T* columns;        // [W, N padded], F_x transposed
  T* square;         // [C, N, N padded]
  const T** planes;  // [views, C], the images' channels

  AttentionScratch(const AttentionSize& s, int64_t views, Arena<T>& arena) {
    const int64_t rows = s.channels * s.N, columns_of_N = round_up(s.N, kLanes<T>);
    Arena<T> counted(nullptr);
    Filters<T>(s.N, s.width, counted);
    Filters<T>(s.N, s.height, counted);
    filters = arena.template take<char>(counted.bytes());
    V = arena.take(views * rows * s.ld<T>());
    Z = arena.take(views * rows * s.ld<T>());
    d_x = arena.take(s.N * s.ld<T>());
    d_y = arena.take(columns_of_N * round_up(s.height, kLanes<T>));
    const bool narrow = is_narrow<T>(s.N, s.ld<T>());
    Z_columns = arena.take(narrow ? s.ld<T>() * columns_of_N : 0);
    d_columns = arena.take(narrow ? s.height * columns_of_N : 0);
    patch = arena.take(views * s.patch());
    columns = arena.take(s.ld<T>() * columns_of_N);
    square = arena.take(rows * columns_of_N);
    planes = arena.template take<const T*>(views * s.channels);
  }
};

template <class T>
struct Bank {  // a window with its filters
  const WindowMap& map;
  const AttentionSize& size;
  const AttentionScratch<T>& scratch;
  Window<T> window;
  Filters<T> x, y;

  // `backward`: window gradients will be asked for. `contracts`: the width of something will be
  // contracted, see contract_width().
  Bank(const WindowMap& map, const AttentionSize& s, const T* params, bool backward, bool contracts,
       const AttentionScratch<T>& scratch)
      : Bank(map, s, params, backward, contracts, scratch, Arena<T>(scratch.filters)) {}

 private:
  Bank(const WindowMap& map, const AttentionSize& s, const T* params, bool backward, bool contracts,
       const AttentionScratch<T>& scratch, Arena<T> arena)
      : map(map),
        size(s),
        scratch(scratch),
        window(window_of(map, params)),
        x(s.N, s.width, arena),
        y(s.N, s.height, arena) {
    if (backward) {
      build_filters<T, true>(map, window, window.x, x);
      build_filters<T, true>(map, window, window.y, y);
    } else {
      build_filters<T, false>(map, window, window.x, x);
      build_filters<T, false>(map, window, window.y, y);
    }
    find_support(y, window.half_precision);
    if (contracts) transpose(x.F, s.N, x.ld, scratch.columns, round_up(s.N, kLanes<T>));
  }

 public:
  int64_t channel() const { return y.pixels * x.ld; }          // numbers of one padded channel
  int64_t projected_channel() const { return size.N * x.ld; }  // the same of V and Z
};

// out [C, N, N] = scale * V F_x^T with V [C, N, ld].
template <class T>
static inline void contract_width(const Bank<T>& bank, const T* V, T* out) {
  const int64_t N = bank.size.N, ld = round_up(N, kLanes<T>), rows = bank.size.channels * N;
  const T scale = bank.window.intensity;
  T* square = bank.scratch.square;
  multiply(V, bank.x.ld, int64_t{1}, bank.scratch.columns, ld, square, ld, rows, ld, bank.x.pixels,
           false);
  for (int64_t j = 0; j < rows; j++)
    for (int64_t i = 0; i < N; i += kLanes<T>) {
      const Vec<T> row = load(square + j * ld + i) * scale;
      if (!bank.map.transposed) {
        store_part(out + j * N + i, row, N - i);
        continue;
      }
      T* column = out + j / N * N * N + j % N;
      for (int64_t l = 0; l < smaller<int64_t>(kLanes<T>, N - i); l++)
        column[(i + l) * N] = row[static_cast<int>(l)];
    }
}

// V [N, ld] = F_y times one channel [H, ld]. Filters go together few at a time, so that each
// product runs over few rows.
template <class T>
static inline void project_channel(const Bank<T>& bank, const T* channel, T* V) {
  const Filters<T>& y = bank.y;
  const int64_t ld = bank.x.ld;
  row_blocks(y.N, few_rows<T>(ld), [&](int64_t j, int64_t rows) {
    const int64_t first = y.first[j], last = larger(first, y.last[j + rows - 1]);
    multiply(y.F + j * y.ld + first, y.ld, int64_t{1}, channel + first * ld, ld, V + j * ld, ld,
             rows, ld, last - first, false);
  });
}
// V [C, N, ld] of an image [C, H, ld].
template <class T>
static inline void project(const Bank<T>& bank, const T* image, T* V) {
  for (int64_t c = 0; c < bank.size.channels; c++)
    project_channel(bank, image + c * bank.channel(), V + c * bank.projected_channel());
}

// out [H, ld] = F_y^T Z (+ add, which may be out), with Z [N, ld].
template <class T>
static inline void spread_channel(const Bank<T>& bank, const T* Z, const T* add, T* out) {
  const Filters<T>& y = bank.y;
  const int64_t ld = bank.x.ld, N = y.N;
  int64_t first = 0, last = 0;  // the filters that reach a block of rows
  row_blocks(y.pixels, ld >= 2 * kPanel<T> ? 6 : kRows<T>, [&](int64_t row, int64_t rows) {
    while (first < N && y.last[first] <= row) first++;
    last = larger(first, last);
    while (last < N && y.first[last] < row + rows) last++;
    multiply_add(y.F + first * y.ld + row, int64_t{1}, y.ld, Z + first * ld, ld, out + row * ld, ld,
                 rows, ld, last - first, add ? add + row * ld : nullptr);
  });
}
// out [C, H, ld] from Z [C, N, ld].
template <class T>
static inline void spread(const Bank<T>& bank, const T* Z, const T* add, T* out) {
  for (int64_t c = 0; c < bank.size.channels; c++) {
    const int64_t at = c * bank.channel();
    spread_channel(bank, Z + c * bank.projected_channel(), add ? add + at : nullptr, out + at);
  }
}

// glimpse [C, N, N] = intensity * F_y I F_x^T, one image through a bank.
template <class T>
static inline void read_image(const Bank<T>& bank, const T* image, T* glimpse) {
  project(bank, image, bank.scratch.V);
  contract_width(bank, bank.scratch.V, glimpse);
}

// A glimpse's gradient, or a patch, times the intensity as [C, N, N] in the window's own order.
template <class T>
static inline void scaled_patch(const Bank<T>& bank, const T* from, T* to) {
  const int64_t N = bank.size.N;
  const T scale = bank.window.intensity;
  if (!bank.map.transposed) {
    for (int64_t k = 0; k < bank.size.patch(); k++) to[k] = scale * from[k];
    return;
  }
  for (int64_t c = 0; c < bank.size.channels; c++)
    for (int64_t j = 0; j < N; j++)
      for (int64_t i = 0; i < N; i++) to[(c * N + j) * N + i] = scale * from[(c * N + i) * N + j];
}

// Z [C, N, ld] = a scaled patch times F_x.
template <class T>
static inline void widen(const Bank<T>& bank, const T* patch, T* Z) {
  const int64_t N = bank.size.N, ld = bank.x.ld;
  multiply(patch, N, int64_t{1}, bank.x.F, ld, Z, ld, bank.size.channels * N, ld, N, false);
}

// out [C, H, ld] = canvas + intensity * F_y^T w F_x; out may be the canvas.
template <class T>
static inline void write_patch(const Bank<T>& bank, const T* patch, const T* canvas, T* out) {
  scaled_patch(bank, patch, bank.scratch.patch);
  widen(bank, bank.scratch.patch, bank.scratch.Z);
  spread(bank, bank.scratch.Z, canvas, out);
}

// The window's gradient, through one image after another that it read or wrote.
template <class T>
class WindowBackward {
 public:
  explicit WindowBackward(const Bank<T>& bank) : bank_(bank) {}

  struct View {
    const T *image, *scaled;
    T *Z, *V;  // the gradient of an image that was read is spread from Z; V is F_y times the image
  };

  // An image [C, H, ld] with its glimpse's gradient, or an image's gradient with the patch written
  // to it; [C, N, N]. The image is read by project(), channel by channel, while each is in the
  // fastest cache, then add() counts it in, and finish() reads it again.
  View start(const T* image, const T* patch) {
    const AttentionSize& s = bank_.size;
    const AttentionScratch<T>& scratch = bank_.scratch;
    const int64_t at = views_ * s.channels * bank_.projected_channel();
    T* scaled = scratch.patch + views_ * s.patch();
    scaled_patch(bank_, patch, scaled);
    widen(bank_, scaled, scratch.Z + at);
    for (int64_t c = 0; c < s.channels; c++)
      scratch.planes[views_ * s.channels + c] = image + c * bank_.channel();
    views_++;
    return {image, scaled, scratch.Z + at, scratch.V + at};
  }
  void project(const View& view, int64_t c) const {
    project_channel(bank_, view.image + c * bank_.channel(),
                    view.V + c * bank_.projected_channel());
  }
  void add(const View& view) {
    const int64_t N = bank_.size.N, ld = bank_.x.ld;
    multiply(view.scaled, int64_t{1}, N, view.V, ld, bank_.scratch.d_x, ld, N, ld,
             bank_.size.channels * N, added_++ > 0);
  }

  // All of it at once.
  View add(const T* image, const T* patch) {
    const View view = start(image, patch);
    for (int64_t c = 0; c < bank_.size.channels; c++) project(view, c);
    add(view);
    return view;
  }

  // To the five numbers.
  void finish(const T* params, T* d_params) const {
    WindowGradient<T> d;
    if (views_ > 0) {
      const AttentionScratch<T>& scratch = bank_.scratch;
      contract_rows(bank_.y, scratch.Z, scratch.planes, views_ * bank_.size.channels,
                    bank_.x.pixels, bank_.x.ld, scratch.Z_columns, scratch.d_columns, scratch.d_y);
      const FiltersGradient<T> x = filters_backward(bank_.map, bank_.window, bank_.x, scratch.d_x);
      const FiltersGradient<T> y = filters_backward(bank_.map, bank_.window, bank_.y, scratch.d_y);
      d = {x.centre, y.centre, x.delta + y.delta, x.log_sigma2 + y.log_sigma2, x.total};
    }
    window_backward(bank_.map, params, bank_.window, d, d_params);
  }

 private:
  const Bank<T>& bank_;
  int64_t views_ = 0, added_ = 0;
};

// f(v, lanes) for the whole vectors of a row, then for the rest of it.
template <class T, class F>
DRAWGAN_INLINE void over_row(int64_t width, const F& f) {
  int64_t v = 0;
  for (; v + kLanes<T> <= width; v += kLanes<T>) f(v, int64_t{kLanes<T>});
  if (v < width) f(v, width - v);
}
// Rows of an image [C * H, W] into padded ones with zeros beyond the width, and back.
template <class T>
static inline void pad_rows(const T* from, int64_t rows, int64_t width, int64_t ld, T* to) {
  for (int64_t r = 0; r < rows; r++, from += width, to += ld)
    over_row<T>(width, [&](int64_t v, int64_t lanes) __attribute__((always_inline)) {
      store(to + v, load_part(from + v, lanes));
    });
}
template <class T>
static inline void unpad_rows(const T* from, int64_t rows, int64_t width, int64_t ld, T* to) {
  for (int64_t r = 0; r < rows; r++, from += ld, to += width)
    over_row<T>(width, [&](int64_t v, int64_t lanes) __attribute__((always_inline)) {
      store_part(to + v, load(from + v), lanes);
    });
}

}  // namespace drawgan::DRAWGAN_ISA
