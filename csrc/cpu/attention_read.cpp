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
  T *image, *sigmoid, *error, *gradient;  // [C, H, ld]

  ReadScratch(const AttentionSize& s, Arena<T>& arena) : attention(s, arena) {
    image = arena.take(s.image<T>());
    sigmoid = arena.take(s.image<T>());
    error = arena.take(s.image<T>());
    gradient = arena.take(s.image<T>());
  }
  static int64_t bytes(const AttentionSize& s) {
    Arena<T> counted(nullptr);
    ReadScratch counting(s, counted);
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

// sigmoid(canvas) and the error image x - sigmoid(canvas); x is padded.
template <class T>
void error_image(const T* x, const T* canvas, const AttentionSize& s, T* sigmoid, T* error) {
  const T* from = padded(canvas, s, sigmoid);
  for (int64_t at = 0; at < s.image<T>(); at += kLanes<T>) {
    const Vec<T> y = vsigmoid(load(from + at));
    store(sigmoid + at, y);
    store(error + at, load(x + at) - y);
  }
}

template <class T>
void read(const ReadArgs& a) {
  const AttentionSize s = size_of(a.shape);
  const int64_t pixels = s.channels * s.height * s.width, numbers = s.channels * s.N * s.N;
  const int threads = worthwhile(a.shape.threads, work_of(a));
  const int64_t each = ReadScratch<T>::bytes(s);
  const Workspace space(each * threads);
  over_slices(threads, a.shape.batch, [&](int64_t begin, int64_t end, int part) {
    Arena<T> arena(static_cast<char*>(space.data()) + part * each);
    const ReadScratch<T> scratch(s, arena);
    for (int64_t b = begin; b < end; b++) {
      const Bank<T> bank(a.shape.map, s, static_cast<const T*>(a.params) + 5 * b, false, true,
                         scratch.attention);
      auto glimpse = [&](const T* image, T* out) {
        read_image(bank, s, a.shape.map.transposed, image, scratch.attention, out);
      };
      for (int64_t i = 0; i < a.images; i++) {
        const T* image = static_cast<const T*>(a.image[i]) + b * pixels;
        glimpse(padded(image, s, scratch.image), static_cast<T*>(a.glimpse[i]) + b * numbers);
      }
      if (!a.canvas) continue;
      const T* x = padded(static_cast<const T*>(a.image[0]) + b * pixels, s, scratch.image);
      error_image(x, static_cast<const T*>(a.canvas) + b * pixels, s, scratch.sigmoid,
                  scratch.error);
      glimpse(scratch.error, static_cast<T*>(a.glimpse[1]) + b * numbers);
    }
  });
}

template <class T>
void read_backward(const ReadArgs& a) {
  const AttentionSize s = size_of(a.shape);
  const int64_t pixels = s.channels * s.height * s.width, numbers = s.channels * s.N * s.N;
  const int64_t rows = s.channels * s.height, ld = s.ld<T>();
  const bool transposed = a.shape.map.transposed;
  const int threads = worthwhile(a.shape.threads, 3 * work_of(a));
  const int64_t each = ReadScratch<T>::bytes(s);
  const Workspace space(each * threads);
  over_slices(threads, a.shape.batch, [&](int64_t begin, int64_t end, int part) {
    Arena<T> arena(static_cast<char*>(space.data()) + part * each);
    const ReadScratch<T> scratch(s, arena);
    T *patch = scratch.attention.patch, *gradient = scratch.gradient;
    for (int64_t b = begin; b < end; b++) {
      const T* params = static_cast<const T*>(a.params) + 5 * b;
      const Bank<T> bank(a.shape.map, s, params, true, false, scratch.attention);
      WindowSums<T> sums;
      bool first = true;
      // The window's gradient through glimpse i, of `image`; if wanted, dL/d(image) is added to or
      // becomes d_image.
      auto backward = [&](int64_t i, const T* image, T* d_image, bool accumulate) {
        const T* d = static_cast<const T*>(a.d_glimpse[i]);
        if (!d) {
          if (d_image && !accumulate) memset(d_image, 0, rows * ld * sizeof(T));
          return;
        }
        scaled_patch(d + b * numbers, s, bank.window.intensity, transposed, patch);
        read_image_backward(bank, s, patch, image, d_image, accumulate, scratch.attention, first,
                            sums);
        first = false;
      };
      for (int64_t i = 0; i < a.images; i++) {
        const T* image = padded(static_cast<const T*>(a.image[i]) + b * pixels, s, scratch.image);
        T* d_image = a.d_image[i] ? static_cast<T*>(a.d_image[i]) + b * pixels : nullptr;
        T* d_canvas = a.d_canvas ? static_cast<T*>(a.d_canvas) + b * pixels : nullptr;
        if (a.canvas) {  // x is seen by both glimpses, and so is read with the error image
          const T* canvas = static_cast<const T*>(a.canvas) + b * pixels;
          error_image(image, canvas, s, scratch.sigmoid, scratch.error);
          backward(1, scratch.error, d_image || d_canvas ? gradient : nullptr, false);
          if (d_canvas) {
            for (int64_t at = 0; at < s.image<T>(); at += kLanes<T>) {
              const Vec<T> y = load(scratch.sigmoid + at);
              store(scratch.sigmoid + at, load(gradient + at) * (y * y - y));
            }
            unpad_rows(scratch.sigmoid, rows, s.width, ld, d_canvas);
          }
        }
        backward(i, image, d_image ? gradient : nullptr, a.canvas != nullptr);
        if (d_image) unpad_rows(gradient, rows, s.width, ld, d_image);
      }
      if (!first) add_width(bank, scratch.attention.dF, sums);
      if (a.d_params)
        window_backward(a.shape.map, params, bank.window, sums.gradient(),
                        static_cast<T*>(a.d_params) + 5 * b);
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
