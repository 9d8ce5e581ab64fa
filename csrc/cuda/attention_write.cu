// The operator attention_write and its gradient: a block takes a sample (forward: one channel of
// it).
#include "attention_write.cuh"
#include "dispatch.cuh"

namespace drawgan::cuda {
namespace {

constexpr int kThreads = 128;

template <class T>
struct WritePointers {
  const T *patch, *params, *canvas;
  T* out;
  int64_t patch_stride, params_stride;
  int C, H, W, N;
};

// Grid (B, C).
template <class T, int VEC>
__global__ void __launch_bounds__(kThreads, 4)
    attention_write_kernel(const Convention map, const WritePointers<T> a) {
  DRAWGAN_DYNAMIC_SHARED(shared);
  const BlockGroup group;
  const int H = a.H, W = a.W, N = a.N, c = static_cast<int>(blockIdx.y);
  const int64_t b = blockIdx.x;
  float *F = reinterpret_cast<float*>(shared), *scratch = F + N * (H + W);
  const SampleWindow window = sample_window(group, map, a.params + b * a.params_stride, H, W, N, F,
                                            scratch + N * N + N * H);
  const int64_t image = (b * a.C + c) * H * W;
  const T* patch = a.patch + b * a.patch_stride + static_cast<int64_t>(c) * N * N;
  write_channel<VEC>(group, window, map.transposed, patch, scratch,
                     [&](int h, int w, float (&added)[1][VEC]) {
                       const int64_t at = image + h * W + w;
                       float pixels[VEC] = {};
                       if (a.canvas != nullptr) load(a.canvas + at, pixels);
#pragma unroll
                       for (int v = 0; v < VEC; v++) pixels[v] += added[0][v];
                       store(a.out + at, pixels);
                     });
}

template <class T>
struct WriteBackwardPointers {
  const T *patch, *params, *d_out;
  T* d_patch;
  float* d_params;
  int64_t patch_stride, params_stride, d_patch_stride;
  int C, H, W, N;
};

// Grid (B,): the window's gradient is a sum over channels.
template <class T, int VEC>
__global__ void __launch_bounds__(kThreads, 4)
    attention_write_backward_kernel(const Convention map, const WriteBackwardPointers<T> a) {
  DRAWGAN_DYNAMIC_SHARED(shared);
  const BlockGroup group;
  const int H = a.H, W = a.W, N = a.N, filters = N * (H + W);
  const int64_t b = blockIdx.x;
  float *F = reinterpret_cast<float*>(shared), *dF = F + filters, *of_channel = dF + filters;
  float* scratch = of_channel + N * N + 2 * N * W;
  const T* params = a.params + b * a.params_stride;
  const SampleWindow window = sample_window(group, map, params, H, W, N, F, scratch);
  set_zero(group, dF, filters);
  for (int c = 0; c < a.C; c++) {
    const int64_t channel = static_cast<int64_t>(c) * N * N;
    T* d_patch = a.d_patch + b * a.d_patch_stride + channel;
    const OneImage<VEC, T> d_canvas{a.d_out + (b * a.C + c) * H * W, W};
    write_channel_backward<VEC>(
        group, window, map.transposed, a.patch + b * a.patch_stride + channel, d_canvas, dF,
        dF + N * H, of_channel, [&](int i, int j, float d) {
          d_patch[map.transposed ? j * N + i : i * N + j] = from_float<T>(d);
        });
  }
  group.sync();
  const WindowGradient d =
      filters_backward(group, map, window.y, window.x, dF, dF + N * H, scratch);
  if (group.rank() == 0) window_backward(map, params, window.y.delta, d, a.d_params + b * 5);
}

template <class T, int VEC>
void launch_write(const WriteArgs& args, cudaStream_t stream) {
  const AttentionShape& s = args.shape;
  const WriteScratch scratch{s.height, s.width, s.N, kThreads / 32};
  const LaunchShape shape{dim3(static_cast<unsigned>(s.batch), static_cast<unsigned>(s.channels)),
                          dim3(kThreads), sizeof(float) * scratch.forward()};
  const WritePointers<T> a{static_cast<const T*>(args.patch),
                           static_cast<const T*>(args.params),
                           static_cast<const T*>(args.canvas),
                           static_cast<T*>(args.out),
                           args.patch_stride,
                           args.params_stride,
                           s.channels,
                           s.height,
                           s.width,
                           s.N};
  launch("attention_write", attention_write_kernel<T, VEC>, shape, stream, convention(s.map), a);
}

template <class T, int VEC>
void launch_write_backward(const WriteBackwardArgs& args, cudaStream_t stream) {
  const AttentionShape& s = args.forward.shape;
  const WriteScratch scratch{s.height, s.width, s.N, kThreads / 32};
  const LaunchShape shape{dim3(static_cast<unsigned>(s.batch)), dim3(kThreads),
                          sizeof(float) * scratch.backward()};
  const WriteBackwardPointers<T> a{static_cast<const T*>(args.forward.patch),
                                   static_cast<const T*>(args.forward.params),
                                   static_cast<const T*>(args.d_out),
                                   static_cast<T*>(args.d_patch),
                                   args.d_params,
                                   args.forward.patch_stride,
                                   args.forward.params_stride,
                                   args.d_patch_stride,
                                   s.channels,
                                   s.height,
                                   s.width,
                                   s.N};
  launch("attention_write_backward", attention_write_backward_kernel<T, VEC>, shape, stream,
         convention(s.map), a);
}

}  // namespace

void attention_write(const WriteArgs& args, cudaStream_t stream) {
  by_type(args.shape.type, [&](auto type) {
    using T = typename decltype(type)::type;
    by_width<T>(
        args.shape.width, [&](auto vec) { launch_write<T, vec()>(args, stream); }, args.canvas,
        args.out);
  });
}

void attention_write_backward(const WriteBackwardArgs& args, cudaStream_t stream) {
  by_type(args.forward.shape.type, [&](auto type) {
    using T = typename decltype(type)::type;
    by_width<T>(
        args.forward.shape.width, [&](auto vec) { launch_write_backward<T, vec()>(args, stream); },
        args.d_out);
  });
}

}  // namespace drawgan::cuda
