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
  T *images, *error;      // [images, C, H, ld], [C, H, ld]
  T *sigmoid, *gradient;  // of one channel, [H, ld]

  ReadScratch(const AttentionSize& s, int64_t images_read, Arena<T>& arena)
      : attention(s, images_read + 1, arena) {
    images = arena.take(images_read * s.image<T>());
    error = arena.take(s.image<T>());
    sigmoid = arena.take(s.height * s.ld<T>());
    gradient = arena.take(s.height * s.ld<T>());
  }
  static int64_t bytes(const AttentionSize& s, int64_t images_read) {
    Arena<T> counted(nullptr);
    ReadScratch counting(s, images_read, counted);
    return counted.bytes();
  }
};

// An image as products take it: in place where the width is a whole number of vectors, else padded
// into scratch, channel by channel.
template <class T>
struct PaddedImage {
  const T *from, *image;
  T* scratch;  // null: in place

  PaddedImage(const void* image, int64_t b, const AttentionSize& s, T* scratch)
      : from(static_cast<const T*>(image) + b * s.channels * s.height * s.width),
        image(s.width == s.ld<T>() ? from : scratch),
        scratch(s.width == s.ld<T>() ? nullptr : scratch) {}

  const T* channel(int64_t c, const AttentionSize& s) const {
    const int64_t at = c * s.height * s.ld<T>();
    if (scratch)
      pad_rows(from + c * s.height * s.width, s.height, s.width, s.ld<T>(), scratch + at);
    return image + at;
  }
};

// The error image x - sigmoid(canvas) of one channel, and if wanted sigmoid(canvas) itself; x is
// padded.
template <class T>
void error_image(const T* x, const T* canvas, const AttentionSize& s, T* sigmoid, T* error) {
  const int64_t ld = s.ld<T>();
  for (int64_t row = 0; row < s.height; row++) {
    over_row<T>(s.width, [&](int64_t v, int64_t lanes) __attribute__((always_inline)) {
      const Vec<T> y = vsigmoid(load_part(canvas + v, lanes));
      if (sigmoid) store(sigmoid + row * ld + v, y);
      store(error + v, load(x + v) - y);
    });
    canvas += s.width, x += ld, error += ld;
  }
}

// dL/d(canvas) of one channel from that of the error image.
template <class T>
void canvas_gradient(const T* d_error, const T* sigmoid, const AttentionSize& s, T* d_canvas) {
  const int64_t ld = s.ld<T>();
  for (int64_t row = 0; row < s.height; row++) {
    over_row<T>(s.width, [&](int64_t v, int64_t lanes) __attribute__((always_inline)) {
      const Vec<T> y = load(sigmoid + v);
      store_part(d_canvas + v, load(d_error + v) * (y * y - y), lanes);
    });
    d_error += ld, sigmoid += ld, d_canvas += s.width;
  }
}

// Both directions go channel by channel: what is made of a channel is used while it is in the
// fastest cache.
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
      const int64_t projected = bank.projected_channel();
      T *V = scratch.attention.V, *V_error = V + s.channels * projected;
      auto glimpse = [&](int64_t i) { return static_cast<T*>(a.glimpse[i]) + b * s.patch(); };
      for (int64_t i = 0; i < a.images; i++) {
        const PaddedImage<T> image(a.image[i], b, s, scratch.images);
        for (int64_t c = 0; c < s.channels; c++) {
          const T* x = image.channel(c, s);
          if (a.canvas) {
            const T* canvas = static_cast<const T*>(a.canvas) + b * pixels + c * s.height * s.width;
            error_image(x, canvas, s, static_cast<T*>(nullptr), scratch.error);
            project_channel(bank, scratch.error, V_error + c * projected);
          }
          project_channel(bank, x, V + c * projected);
        }
        contract_width(bank, V, glimpse(i));
        if (a.canvas) contract_width(bank, V_error, glimpse(1));
      }
    }
  });
}

// Gradients of one image and of the canvas that was read with it, channel by channel.
template <class T>
void image_backward(const ReadArgs& a, const ReadScratch<T>& scratch, const Bank<T>& bank,
                    int64_t i, int64_t b, WindowBackward<T>* window) {
  using View = typename WindowBackward<T>::View;
  const AttentionSize& s = bank.size;
  const int64_t ld = s.ld<T>(), plane = s.height * s.width, channel = bank.channel();
  const PaddedImage<T> image(a.image[i], b, s, scratch.images + i * s.image<T>());
  auto of_sample = [&](void* p) {
    return p ? static_cast<T*>(p) + b * s.channels * plane : nullptr;
  };
  T *d_image = of_sample(a.d_image[i]), *d_canvas = of_sample(a.d_canvas);
  auto start = [&](const T* read, const void* d_glimpse) {
    return d_glimpse ? window->start(read, static_cast<const T*>(d_glimpse) + b * s.patch())
                     : View{};
  };
  // x is seen by both glimpses: by its own and by that of the error image.
  const View error = a.canvas ? start(scratch.error, a.d_glimpse[1]) : View{};
  const View own = start(image.image, a.d_glimpse[i]);
  auto spread_view = [&](const View& view, int64_t c, const T* add) {
    if (view.Z)
      spread_channel(bank, view.Z + c * bank.projected_channel(), add, scratch.gradient);
    else if (!add)
      memset(scratch.gradient, 0, channel * sizeof(T));
  };
  for (int64_t c = 0; c < s.channels; c++) {
    const T* x = image.channel(c, s);
    if (a.canvas)
      error_image(x, static_cast<const T*>(a.canvas) + (b * s.channels + c) * plane, s,
                  scratch.sigmoid, scratch.error + c * channel);
    if (error.Z) window->project(error, c);
    if (own.Z) window->project(own, c);
    const bool through_error = a.canvas && (d_image || d_canvas);
    if (through_error) spread_view(error, c, nullptr);
    if (d_canvas) canvas_gradient(scratch.gradient, scratch.sigmoid, s, d_canvas + c * plane);
    if (!d_image) continue;
    spread_view(own, c, through_error ? scratch.gradient : nullptr);
    unpad_rows(scratch.gradient, s.height, s.width, ld, d_image + c * plane);
  }
  for (const View& view : {error, own})
    if (view.Z) window->add(view);
}

template <class T>
void read_backward(const ReadArgs& a) {
  const AttentionSize s = size_of(a.shape);
  const int threads = worthwhile(a.shape.threads, 3 * work_of(a));
  const int64_t each = ReadScratch<T>::bytes(s, a.images);
  const Workspace space(each * threads);
  over_slices(threads, a.shape.batch, [&](int64_t begin, int64_t end, int part) {
    Arena<T> arena(static_cast<char*>(space.data()) + part * each);
    const ReadScratch<T> scratch(s, a.images, arena);
    for (int64_t b = begin; b < end; b++) {
      const T* params = static_cast<const T*>(a.params) + 5 * b;
      const Bank<T> bank(a.shape.map, s, params, true, false, scratch.attention);
      WindowBackward<T> window(bank);
      for (int64_t i = 0; i < a.images; i++) image_backward(a, scratch, bank, i, b, &window);
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
