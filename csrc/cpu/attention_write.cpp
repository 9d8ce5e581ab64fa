#include "attention.h"
#include "threads.h"
#include "workspace.h"

namespace drawgan::DRAWGAN_ISA {
namespace {

double work_of(const AttentionShape& s) {
  return static_cast<double>(s.batch) * s.channels * s.height * s.width * (s.N + 2);
}

template <class T>
struct WriteScratch {
  AttentionScratch<T> attention;
  T* image;  // [C, H, ld]

  WriteScratch(const AttentionSize& s, Arena<T>& arena) : attention(s, 1, arena) {
    image = arena.take(s.image<T>());
  }
  static int64_t bytes(const AttentionSize& s) {
    Arena<T> counted(nullptr);
    WriteScratch counting(s, counted);
    return counted.bytes();
  }
};

// out [rows, W] = padded rows + canvas.
template <class T>
void add_rows(const T* padded, const T* canvas, int64_t rows, int64_t width, int64_t ld, T* out) {
  for (int64_t r = 0; r < rows; r++, padded += ld, canvas += width, out += width)
    over_row<T>(width, [&](int64_t v, int64_t lanes) __attribute__((always_inline)) {
      store_part(out + v, load(padded + v) + load_part(canvas + v, lanes), lanes);
    });
}

template <class T>
void write(const WriteArgs& a) {
  const AttentionSize s{a.shape.channels, a.shape.height, a.shape.width, a.shape.N};
  const int64_t rows = s.channels * s.height, pixels = rows * s.width, ld = s.ld<T>();
  const int threads = worthwhile(a.shape.threads, work_of(a.shape));
  const int64_t each = WriteScratch<T>::bytes(s);
  const Workspace space(each * threads);
  over_slices(threads, a.shape.batch, [&](int64_t begin, int64_t end, int part) {
    Arena<T> arena(static_cast<char*>(space.data()) + part * each);
    const WriteScratch<T> scratch(s, arena);
    for (int64_t b = begin; b < end; b++) {
      const T* params = static_cast<const T*>(a.params) + 5 * b;
      const Bank<T> bank(a.shape.map, s, params, false, false, scratch.attention);
      const T* patch = static_cast<const T*>(a.patch) + b * s.patch();
      const T* canvas = a.canvas ? static_cast<const T*>(a.canvas) + b * pixels : nullptr;
      T* out = static_cast<T*>(a.out) + b * pixels;
      if (s.width == ld) {
        write_patch(bank, patch, canvas, out);
        continue;
      }
      write_patch(bank, patch, static_cast<const T*>(nullptr), scratch.image);
      if (canvas)
        add_rows(scratch.image, canvas, rows, s.width, ld, out);
      else
        unpad_rows(scratch.image, rows, s.width, ld, out);
    }
  });
}

template <class T>
void write_backward(const WriteArgs& a) {
  const AttentionSize s{a.shape.channels, a.shape.height, a.shape.width, a.shape.N};
  const int64_t rows = s.channels * s.height, pixels = rows * s.width, ld = s.ld<T>();
  const int threads = worthwhile(a.shape.threads, 3 * work_of(a.shape));
  const int64_t each = WriteScratch<T>::bytes(s);
  const Workspace space(each * threads);
  over_slices(threads, a.shape.batch, [&](int64_t begin, int64_t end, int part) {
    Arena<T> arena(static_cast<char*>(space.data()) + part * each);
    const WriteScratch<T> scratch(s, arena);
    for (int64_t b = begin; b < end; b++) {
      const T* params = static_cast<const T*>(a.params) + 5 * b;
      const Bank<T> bank(a.shape.map, s, params, true, true, scratch.attention);
      const T* d_out = static_cast<const T*>(a.d_out) + b * pixels;
      if (s.width != ld) {
        pad_rows(d_out, rows, s.width, ld, scratch.image);
        d_out = scratch.image;
      }
      WindowBackward<T> window(bank);
      const auto view = window.add(d_out, static_cast<const T*>(a.patch) + b * s.patch());
      if (a.d_patch) contract_width(bank, view.V, static_cast<T*>(a.d_patch) + b * s.patch());
      if (a.d_params) window.finish(params, static_cast<T*>(a.d_params) + 5 * b);
    }
  });
}

}  // namespace

void attention_write(const WriteArgs& a) {
  a.shape.double_precision ? write<double>(a) : write<float>(a);
}
void attention_write_backward(const WriteArgs& a) {
  a.shape.double_precision ? write_backward<double>(a) : write_backward<float>(a);
}

}  // namespace drawgan::DRAWGAN_ISA
