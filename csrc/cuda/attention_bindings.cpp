#include "bindings.h"
#include "operators.h"

namespace drawgan::cuda {
namespace {

AttentionShape shape_of(int type, const WindowMap& map, int64_t B, int C, int H, int W, int N) {
  return {number(type), map, B, C, H, W, N};
}

}  // namespace

void bind_attention(py::module_& m) {
  m.def("attention_shared_bytes", &attention_shared_bytes, py::arg("height"), py::arg("width"),
        py::arg("N"));
  m.def(
      "attention_read",
      [](int type, const WindowMap& map, int64_t B, int C, int H, int W, int N, Address image,
         Address other, int second, Address params, int64_t params_stride, Address glimpse,
         Address other_glimpse, int64_t glimpse_stride, Address stream) {
        ReadArgs args{};
        args.shape = shape_of(type, map, B, C, H, W, N);
        args.second = static_cast<Second>(second);
        args.image = pointer(image), args.other = pointer(other);
        args.params = pointer(params), args.params_stride = params_stride;
        args.glimpse = pointer(glimpse), args.other_glimpse = pointer(other_glimpse);
        args.glimpse_stride = glimpse_stride;
        attention_read(args, as_stream(stream));
      },
      NoGil());
  m.def(
      "attention_read_backward",
      [](int type, const WindowMap& map, int64_t B, int C, int H, int W, int N, Address image,
         Address other, int second, Address params, int64_t params_stride, Address d_glimpse,
         Address d_other_glimpse, int64_t d_glimpse_stride, Address d_image, Address d_other,
         Address d_params, Address stream) {
        ReadBackwardArgs args{};
        args.forward.shape = shape_of(type, map, B, C, H, W, N);
        args.forward.second = static_cast<Second>(second);
        args.forward.image = pointer(image), args.forward.other = pointer(other);
        args.forward.params = pointer(params), args.forward.params_stride = params_stride;
        args.d_glimpse = pointer(d_glimpse), args.d_other_glimpse = pointer(d_other_glimpse);
        args.d_glimpse_stride = d_glimpse_stride;
        args.d_image = pointer(d_image), args.d_other = pointer(d_other);
        args.d_params = as<float>(d_params);
        attention_read_backward(args, as_stream(stream));
      },
      NoGil());
  m.def(
      "attention_write",
      [](int type, const WindowMap& map, int64_t B, int C, int H, int W, int N, Address patch,
         int64_t patch_stride, Address params, int64_t params_stride, Address canvas, Address out,
         Address stream) {
        WriteArgs args{};
        args.shape = shape_of(type, map, B, C, H, W, N);
        args.patch = pointer(patch), args.patch_stride = patch_stride;
        args.params = pointer(params), args.params_stride = params_stride;
        args.canvas = pointer(canvas), args.out = pointer(out);
        attention_write(args, as_stream(stream));
      },
      NoGil());
  m.def(
      "attention_write_backward",
      [](int type, const WindowMap& map, int64_t B, int C, int H, int W, int N, Address patch,
         int64_t patch_stride, Address params, int64_t params_stride, Address d_out,
         Address d_patch, int64_t d_patch_stride, Address d_params, Address stream) {
        WriteBackwardArgs args{};
        args.forward.shape = shape_of(type, map, B, C, H, W, N);
        args.forward.patch = pointer(patch), args.forward.patch_stride = patch_stride;
        args.forward.params = pointer(params), args.forward.params_stride = params_stride;
        args.d_out = pointer(d_out);
        args.d_patch = pointer(d_patch), args.d_patch_stride = d_patch_stride;
        args.d_params = as<float>(d_params);
        attention_write_backward(args, as_stream(stream));
      },
      NoGil());
}

}  // namespace drawgan::cuda
