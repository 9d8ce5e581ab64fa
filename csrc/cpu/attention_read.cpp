#include "attention.h"
#include "threads.h"
#include "workspace.h"

namespace drawgan::DRAWGAN_ISA {
namespace {

AttentionSize size_of(const AttentionShape& s) { return {s.channels, s.height, s.width, s.N}; }

double work_of(const ReadArgs& a) {
  const AttentionShape& s = a.shape;
  return static_cast<double>(s.batch) * s.channels * s.height * s.width * (s.N + 8) *
         (a.images + (a.canvas ? 1 : 0));
}

template <class T>
struct ReadScratch {
  AttentionScratch<T> attention;
  T *images, *sigmoid, *error, *gradient;  // [images, C, H, ld], [C, H, ld]

  ReadScratch(const AttentionSize& s, int64_t images_read, Arena<T>& arena)
      : attention(s, images_read + 1, arena) {
    images = arena.take(images_read * s.image<T>());
    sigmoid = arena.take(s.image<T>());
    error = arena.take(s.image<T>());
    gradient = arena.take(s.image<T>());
  }
  static int64_t bytes(const AttentionSize& s, int64_t images_read) {
    Arena<T> counted(nullptr);
    ReadScratch counting(s, images_read, counted);
    return counted.bytes();
  }
};

// The padded image: in place where the width is a whole number of vectors.
template <class T>
const T* padded(const T* image, const AttentionSize& s, T* scratch) {
  if (s.width == s.ld<T>()) return image;
  pad_rows(image, s.channels * s.height, s.width, s.ld<T>(), scratch);
  return scratch;
}

// The error image x - sigmoid(canvas), and if wanted sigmoid(canvas) itself; x is padded.
template <class T>
void error_image(const T* x, const T* canvas, const AttentionSize& s, T* sigmoid, T* error) {
  const int64_t ld = s.ld<T>();
  for (int64_t row = 0; row < s.channels * s.height; row++) {
    over_row<T>(s.width, [&](int64_t v, int64_t lanes) __attribute__((always_inline)) {
      const Vec<T> y = vsigmoid(load_part(canvas + v, lanes));
      if (sigmoid) store(sigmoid + row * ld + v, y);
      store(error + v, load(x + v) - y);
    });
    canvas += s.width, x += ld, error += ld;
  }
}

// dL/d(canvas) from that of the error image.
template <class T>
void canvas_gradient(const T* d_error, const T* sigmoid, const AttentionSize& s, T* d_canvas) {
  const int64_t ld = s.ld<T>();
  for (int64_t row = 0; row < s.channels * s.height; row++) {
    over_row<T>(s.width, [&](int64_t v, int64_t lanes) __attribute__((always_inline)) {
      const Vec<T> y = load(sigmoid + v);
      store_part(d_canvas + v, load(d_error + v) * (y * y - y), lanes);
    });
    d_error += ld, sigmoid += ld, d_canvas += s.width;
  }
}

template <class T>
void read(const ReadArgs& a) {
  const AttentionSize s = size_of(a.shape);
  const int64_t pixels = s.channels * s.height * s.width;
  const int threads = worthwhile(a.shape.threads, work_of(a));
  const int64_t each = ReadScratch<T>::bytes(s, a.images);
  const Workspace space(each * threads);
  over_slices(threads, a.shape.batch, [&](int64_t begin, int64_t end, int part) {
    Arena<T> arena(static_cast<char*>(space.data()) + part * each);
    const ReadScratch<T> scratch(s, a.images, arena);
    for (int64_t b = begin; b < end; b++) {
      const T* params = static_cast<const T*>(a.params) + 5 * b;
      const Bank<T> bank(a.shape.map, s, params, false, true, scratch.attention);
      auto glimpse = [&](int64_t i) { return static_cast<T*>(a.glimpse[i]) + b * s.patch(); };
      for (int64_t i = 0; i < a.images; i++) {
        const T* image = static_cast<const T*>(a.image[i]) + b * pixels;
        image = padded(image, s, scratch.images);
        if (a.canvas) {  // read first: what it reads is then in the cache
          error_image(image, static_cast<const T*>(a.canvas) + b * pixels, s,
                      static_cast<T*>(nullptr), scratch.error);
          read_image(bank, scratch.error, glimpse(1));
        }
        read_image(bank, image, glimpse(i));
      }
    }
  });
}

template <class T>
void read_backward(const ReadArgs& a) {
  const AttentionSize s = size_of(a.shape);
  const int64_t pixels = s.channels * s.height * s.width;
  const int64_t rows = s.channels * s.height, ld = s.ld<T>();
  const int threads = worthwhile(a.shape.threads, 3 * work_of(a));
  const int64_t each = ReadScratch<T>::bytes(s, a.images);
  const Workspace space(each * threads);
  over_slices(threads, a.shape.batch, [&](int64_t begin, int64_t end, int part) {
    Arena<T> arena(static_cast<char*>(space.data()) + part * each);
    const ReadScratch<T> scratch(s, a.images, arena);
    T* gradient = scratch.gradient;
    for (int64_t b = begin; b < end; b++) {
      const T* params = static_cast<const T*>(a.params) + 5 * b;
      const Bank<T> bank(a.shape.map, s, params, true, false, scratch.attention);
      WindowBackward<T> window(bank);
      // The window's gradient through glimpse i, of `image`; if wanted, dL/d(image) is added to or
      // becomes d_image.
      auto backward = [&](int64_t i, const T* image, T* d_image, bool accumulate) {
        const T* d = static_cast<const T*>(a.d_glimpse[i]);
        if (!d) {
          if (d_image && !accumulate) memset(d_image, 0, rows * ld * sizeof(T));
          return;
        }
        const T* Z = window.add(image, d + b * s.patch());
        if (d_image) spread(bank, Z, accumulate ? d_image : nullptr, d_image);
      };
      for (int64_t i = 0; i < a.images; i++) {
        const T* image = padded(static_cast<const T*>(a.image[i]) + b * pixels, s,
                                scratch.images + i * s.image<T>());
        T* d_image = a.d_image[i] ? static_cast<T*>(a.d_image[i]) + b * pixels : nullptr;
        T* d_canvas = a.d_canvas ? static_cast<T*>(a.d_canvas) + b * pixels : nullptr;
        if (a.canvas) {  // x is seen by both glimpses, and so is read with the error image
          const T* canvas = static_cast<const T*>(a.canvas) + b * pixels;
          error_image(image, canvas, s, scratch.sigmoid, scratch.error);
          backward(1, scratch.error, d_image || d_canvas ? gradient : nullptr, false);
          if (d_canvas) canvas_gradient(gradient, scratch.sigmoid, s, d_canvas);
        }
        backward(i, image, d_image ? gradient : nullptr, a.canvas != nullptr);
        if (d_image) unpad_rows(gradient, rows, s.width, ld, d_image);
      }
      if (a.d_params) window.finish(params, static_cast<T*>(a.d_params) + 5 * b);
    }
  });
}

}  // namespace

void attention_read(const ReadArgs& a) {
  a.shape.double_precision ? read<double>(a) : read<float>(a);
}
void attention_read_backward(const ReadArgs& a) {
  a.shape.double_precision ? read_backward<double>(a) : read_backward<float>(a);
}

}  // namespace drawgan::DRAWGAN_ISA
