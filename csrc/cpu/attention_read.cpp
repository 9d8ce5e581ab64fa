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
  T *image, *sigmoid, *gradient, *gradient2;  // [C, H, ld]
  T* glimpse;                                 // [C, N, N]

  ReadScratch(const AttentionSize& s, Arena<T>& arena) : attention(s, arena) {
    image = arena.take(s.image<T>());
    sigmoid = arena.take(s.image<T>());
    gradient = arena.take(s.image<T>());
    gradient2 = arena.take(s.image<T>());
    glimpse = arena.take(s.channels * s.N * s.N);
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

template <class T>
const T* sigmoid_of(const T* canvas, const AttentionSize& s, T* scratch) {
  const T* from = padded(canvas, s, scratch);
  for (int64_t at = 0; at < s.image<T>(); at += kLanes<T>) store(scratch + at, vsigmoid(load(from + at)));
  return scratch;
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
      const Bank<T> bank(a.shape.map, s, static_cast<const T*>(a.params) + 5 * b, false,
                         scratch.attention);
      auto glimpse = [&](const T* image, T* out) {
        read_image(bank, s, a.shape.map.transposed, image, scratch.attention, out);
      };
      for (int64_t i = 0; i < a.images; i++) {
        const T* image = static_cast<const T*>(a.image[i]) + b * pixels;
        glimpse(padded(image, s, scratch.image), static_cast<T*>(a.glimpse[i]) + b * numbers);
      }
      if (!a.canvas) continue;
      // Linear in the image: the glimpse of x - sigmoid(canvas) is the difference of two.
      const T* canvas = static_cast<const T*>(a.canvas) + b * pixels;
      glimpse(sigmoid_of(canvas, s, scratch.sigmoid), scratch.glimpse);
      const T* seen = static_cast<T*>(a.glimpse[0]) + b * numbers;
      T* error = static_cast<T*>(a.glimpse[1]) + b * numbers;
      for (int64_t k = 0; k < numbers; k++) error[k] = seen[k] - scratch.glimpse[k];
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
    T *patch = scratch.attention.patch, *patch2 = scratch.attention.patch2;
    for (int64_t b = begin; b < end; b++) {
      const T* params = static_cast<const T*>(a.params) + 5 * b;
      const Bank<T> bank(a.shape.map, s, params, true, scratch.attention);
      const T intensity = bank.window.intensity;
      WindowSums<T> sums;
      bool first = true;
      auto gradient_of = [&](int64_t i) {
        const void* d = a.d_glimpse[i];
        return d ? static_cast<const T*>(d) + b * numbers : nullptr;
      };
      // Gradient `p` of a glimpse of `image`; the gradient of the image, if wanted, to `out`.
      auto backward = [&](const T* image, const T* p, T* out) {
        const bool direct = s.width == ld;
        T* d_image = !out ? nullptr : direct ? out : scratch.gradient;
        read_image_backward(bank, s, p, image, d_image, false, scratch.attention, first, sums);
        if (out && !direct) unpad_rows(d_image, rows, s.width, ld, out);
        first = false;
      };
      auto output = [&](void* d) { return d ? static_cast<T*>(d) + b * pixels : nullptr; };
      auto zero = [&](T* d) {
        if (d) memset(d, 0, pixels * sizeof(T));
      };
      for (int64_t i = 0; i < a.images; i++) {
        const T* image = padded(static_cast<const T*>(a.image[i]) + b * pixels, s, scratch.image);
        const T *d = gradient_of(i), *d_error = a.canvas ? gradient_of(1) : nullptr;
        T* out = output(a.d_image[i]);
        if (d) scaled_patch(d, s, intensity, transposed, patch);
        if (d_error) {
          scaled_patch(d_error, s, intensity, transposed, patch2);
          if (d)  // x is seen by both glimpses
            for (int64_t k = 0; k < numbers; k++) patch[k] += patch2[k];
        }
        if (d || d_error)
          backward(image, d ? patch : patch2, out);
        else
          zero(out);
      }
      if (a.canvas) {
        T* out = output(a.d_canvas);
        if (const T* d_error = gradient_of(1)) {
          scaled_patch(d_error, s, -intensity, transposed, patch);
          const T* sigmoid =
              sigmoid_of(static_cast<const T*>(a.canvas) + b * pixels, s, scratch.sigmoid);
          T* d_sigmoid = out ? scratch.gradient2 : nullptr;
          read_image_backward(bank, s, patch, sigmoid, d_sigmoid, false, scratch.attention, first,
                              sums);
          first = false;
          if (out) {
            for (int64_t at = 0; at < s.image<T>(); at += kLanes<T>) {
              const Vec<T> y = load(sigmoid + at);
              store(d_sigmoid + at, load(d_sigmoid + at) * (y - y * y));
            }
            unpad_rows(d_sigmoid, rows, s.width, ld, out);
          }
        } else {
          zero(out);
        }
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
