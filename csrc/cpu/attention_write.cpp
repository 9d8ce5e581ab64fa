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
  T* patch;  // [C, N, N]

  WriteScratch(const AttentionSize& s, Arena<T>& arena) : attention(s, arena) {
    image = arena.take(s.image<T>());
    patch = arena.take(s.channels * s.N * s.N);
  }
  static int64_t bytes(const AttentionSize& s) {
    Arena<T> counted(nullptr);
    WriteScratch counting(s, counted);
    return counted.bytes();
  }
};

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
      const Bank<T> bank(a.shape.map, s, static_cast<const T*>(a.params) + 5 * b, false, false,
                         scratch.attention);
      T* out = static_cast<T*>(a.out) + b * pixels;
      const bool direct = s.width == ld;
      T* canvas = direct ? out : scratch.image;
      if (a.canvas) {
        const T* from = static_cast<const T*>(a.canvas) + b * pixels;
        pad_rows(from, rows, s.width, ld, canvas);
      } else {
        memset(canvas, 0, rows * ld * sizeof(T));
      }
      write_patch(bank, s, a.shape.map.transposed,
                  static_cast<const T*>(a.patch) + b * s.channels * s.N * s.N, canvas,
                  scratch.attention);
      if (!direct) unpad_rows(canvas, rows, s.width, ld, out);
    }
  });
}

template <class T>
void write_backward(const WriteArgs& a) {
  const AttentionSize s{a.shape.channels, a.shape.height, a.shape.width, a.shape.N};
  const int64_t rows = s.channels * s.height, pixels = rows * s.width, ld = s.ld<T>();
  const int64_t numbers = s.channels * s.N * s.N;
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
      WindowSums<T> sums;
      T* d_patch = a.d_patch ? static_cast<T*>(a.d_patch) + b * numbers : scratch.patch;
      write_patch_backward(bank, s, a.shape.map.transposed,
                           static_cast<const T*>(a.patch) + b * numbers, d_out, d_patch,
                           scratch.attention, sums);
      if (a.d_params)
        window_backward(a.shape.map, params, bank.window, sums.gradient(),
                        static_cast<T*>(a.d_params) + 5 * b);
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
