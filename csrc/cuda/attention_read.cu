// The operator attention_read and its gradient: a block takes a sample (forward: one channel of
// it).
#include "attention_read.cuh"
#include "dispatch.cuh"

namespace drawgan::cuda {
namespace {

constexpr int kThreads = 128;

template <int VEC, Second SECOND, class T>
__device__ auto source_of(const T* image, const T* other, int W) {
  if constexpr (SECOND == Second::none) return OneImage<VEC, T>{image, W};
  if constexpr (SECOND == Second::image) return TwoImages<VEC, T>{image, other, W};
  if constexpr (SECOND == Second::canvas) return ImageAndError<VEC, T, T>{image, other, W};
}

template <class T>
struct ReadPointers {
  const T *image, *other, *params;
  T *glimpse, *other_glimpse;
  int64_t params_stride, glimpse_stride;
  int C, H, W, N;
};

// Grid (B, C).
template <class T, int VEC, Second SECOND>
__global__ void __launch_bounds__(kThreads, 4)
    attention_read_kernel(const Convention map, const ReadPointers<T> a) {
  constexpr int IMAGES = SECOND == Second::none ? 1 : 2;
  DRAWGAN_DYNAMIC_SHARED(shared);
  const BlockGroup group;
  const int H = a.H, W = a.W, N = a.N, c = static_cast<int>(blockIdx.y);
  const int64_t b = blockIdx.x;
  float *F = reinterpret_cast<float*>(shared), *V = F + N * (H + W), *sums = V + IMAGES * N * W;
  const SampleWindow window =
      sample_window(group, map, a.params + b * a.params_stride, H, W, N, F, sums);
  const int64_t at = (b * a.C + c) * H * W;
  T* glimpse = a.glimpse + b * a.glimpse_stride + static_cast<int64_t>(c) * N * N;
  T* other_glimpse = nullptr;
  if (IMAGES == 2) other_glimpse = a.other_glimpse + (glimpse - a.glimpse);
  read_channel<VEC, IMAGES>(
      group, window, source_of<VEC, SECOND>(a.image + at, a.other + at, W), V,
      [&](int m, int i, int j, float value) {
        (m == 0 ? glimpse : other_glimpse)[map.transposed ? j * N + i : i * N + j] =
            from_float<T>(value);
      });
}

template <class T>
struct ReadBackwardPointers {
  const T *image, *other, *params, *d_glimpse, *d_other_glimpse;
  T *d_image, *d_other;
  float* d_params;
  int64_t params_stride, d_glimpse_stride;
  int C, H, W, N;
};

// What one channel's pixels get. The error image, image - sigmoid(canvas), sees both.
template <int VEC, Second SECOND, class T>
struct PixelSink {
  T *d_image, *d_other;
  const T* canvas;
  int W;

  template <int IMAGES>
  __device__ void operator()(int h, int w, float (&d)[IMAGES][VEC]) const {
    const int at = h * W + w;
    if constexpr (SECOND == Second::canvas) {
      float y[VEC], d_canvas[VEC];
      load(canvas + at, y);
#pragma unroll
      for (int v = 0; v < VEC; v++) {
        y[v] = sigmoid(y[v]);
        d_canvas[v] = d[1][v] * (y[v] * y[v] - y[v]);
        d[0][v] += d[1][v];
      }
      if (d_other != nullptr) store(d_other + at, d_canvas);
    } else if constexpr (SECOND == Second::image) {
      if (d_other != nullptr) store(d_other + at, d[1]);
    }
    if (d_image != nullptr) store(d_image + at, d[0]);
  }
};

// Grid (B,): the window's gradient is a sum over channels.
template <class T, int VEC, Second SECOND>
__global__ void __launch_bounds__(kThreads, 4)
    attention_read_backward_kernel(const Convention map, const ReadBackwardPointers<T> a) {
  constexpr int IMAGES = SECOND == Second::none ? 1 : 2;
  DRAWGAN_DYNAMIC_SHARED(shared);
  const BlockGroup group;
  const int H = a.H, W = a.W, N = a.N, filters = N * (H + W);
  const int64_t b = blockIdx.x;
  float* F = reinterpret_cast<float*>(shared);
  float *dF = F + filters, *R = dF + filters, *YZ = R + IMAGES * N * N;
  float* scratch = YZ + IMAGES * filters;
  const T* params = a.params + b * a.params_stride;
  const SampleWindow window = sample_window(group, map, params, H, W, N, F, scratch);
  set_zero(group, dF, filters);
  for (int c = 0; c < a.C; c++) {
    const int64_t at = (b * a.C + c) * H * W;
    const int64_t glimpse = b * a.d_glimpse_stride + static_cast<int64_t>(c) * N * N;
#pragma unroll
    for (int m = 0; m < IMAGES; m++) {
      const T* d = m == 0 ? a.d_glimpse : a.d_other_glimpse;
      if (d == nullptr)
        set_zero(group, R + m * N * N, N * N);
      else
        load_patch(group, d + glimpse, N, map.transposed, window.intensity, R + m * N * N);
    }
    group.sync();
    const PixelSink<VEC, SECOND, T> sink{a.d_image == nullptr ? nullptr : a.d_image + at,
                                         a.d_other == nullptr ? nullptr : a.d_other + at,
                                         a.other + at, W};
    read_channel_backward<VEC, IMAGES>(group, window,
                                       source_of<VEC, SECOND>(a.image + at, a.other + at, W), R, dF,
                                       dF + N * H, YZ, sink);
  }
  group.sync();
  const WindowGradient d =
      filters_backward(group, map, window.y, window.x, dF, dF + N * H, scratch);
  if (group.rank() == 0) window_backward(map, params, window.y.delta, d, a.d_params + b * 5);
}

template <class T, int VEC, Second SECOND>
void launch_read(const ReadArgs& args, cudaStream_t stream) {
  const AttentionShape& s = args.shape;
  const int images = SECOND == Second::none ? 1 : 2;
  const ReadScratch scratch{s.height, s.width, s.N, images, kThreads / 32};
  const LaunchShape shape{dim3(static_cast<unsigned>(s.batch), static_cast<unsigned>(s.channels)),
                          dim3(kThreads), sizeof(float) * scratch.forward()};
  const ReadPointers<T> a{static_cast<const T*>(args.image),
                          static_cast<const T*>(args.other),
                          static_cast<const T*>(args.params),
                          static_cast<T*>(args.glimpse),
                          static_cast<T*>(args.other_glimpse),
                          args.params_stride,
                          args.glimpse_stride,
                          s.channels,
                          s.height,
                          s.width,
                          s.N};
  launch("attention_read", attention_read_kernel<T, VEC, SECOND>, shape, stream, convention(s.map),
         a);
}

template <class T, int VEC, Second SECOND>
void launch_read_backward(const ReadBackwardArgs& args, cudaStream_t stream) {
  const AttentionShape& s = args.forward.shape;
  const int images = SECOND == Second::none ? 1 : 2;
  const ReadScratch scratch{s.height, s.width, s.N, images, kThreads / 32};
  const LaunchShape shape{dim3(static_cast<unsigned>(s.batch)), dim3(kThreads),
                          sizeof(float) * scratch.backward()};
  const ReadBackwardPointers<T> a{static_cast<const T*>(args.forward.image),
                                  static_cast<const T*>(args.forward.other),
                                  static_cast<const T*>(args.forward.params),
                                  static_cast<const T*>(args.d_glimpse),
                                  static_cast<const T*>(args.d_other_glimpse),
                                  static_cast<T*>(args.d_image),
                                  static_cast<T*>(args.d_other),
                                  args.d_params,
                                  args.forward.params_stride,
                                  args.d_glimpse_stride,
                                  s.channels,
                                  s.height,
                                  s.width,
                                  s.N};
  launch("attention_read_backward", attention_read_backward_kernel<T, VEC, SECOND>, shape, stream,
         convention(s.map), a);
}

}  // namespace

void attention_read(const ReadArgs& args, cudaStream_t stream) {
  by_type(args.shape.type, [&](auto type) {
    using T = typename decltype(type)::type;
    const auto run = [&](auto vec) {
      by_second(args.second, [&](auto second) { launch_read<T, vec(), second()>(args, stream); });
    };
    by_width<T>(args.shape.width, run, args.image, args.other);
  });
}

void attention_read_backward(const ReadBackwardArgs& args, cudaStream_t stream) {
  const ReadArgs& f = args.forward;
  by_type(f.shape.type, [&](auto type) {
    using T = typename decltype(type)::type;
    const auto run = [&](auto vec) {
      by_second(f.second,
                [&](auto second) { launch_read_backward<T, vec(), second()>(args, stream); });
    };
    by_width<T>(f.shape.width, run, f.image, f.other, args.d_image, args.d_other);
  });
}

int64_t attention_shared_bytes(int height, int width, int N) {
  return static_cast<int64_t>(sizeof(float)) *
         ReadScratch{height, width, N, 2, kThreads / 32}.backward();
}

}  // namespace drawgan::cuda
