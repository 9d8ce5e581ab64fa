// What the CUDA core runs. Arrays are C-contiguous with the shapes in the comments unless a stride
// says otherwise; a null pointer stands for "not given" or "not wanted"; strides are in elements.
#pragma once

#include <cstdint>

#include "../window_map.h"
#include "number.h"
#include "platform.h"

namespace drawgan::cuda {

enum class Second : int { none, image, canvas };  // what is read beside the image

struct AttentionShape {
  Number type;
  WindowMap map;
  int64_t batch;
  int channels, height, width, N;
};

struct ReadArgs {
  AttentionShape shape;
  Second second;
  const void *image, *other;  // [B, C, H, W]; canvas: its error image, image - sigmoid, is read
  const void* params;         // [B, 5]
  int64_t params_stride;
  void *glimpse, *other_glimpse;  // out, [B, C, N, N]
  int64_t glimpse_stride;         // between samples
};

struct ReadBackwardArgs {
  ReadArgs forward;  // glimpses are not used
  const void *d_glimpse, *d_other_glimpse;
  int64_t d_glimpse_stride;
  void *d_image, *d_other;  // out; with a canvas d_image is that of both glimpses
  float* d_params;          // out, [B, 5]
};

struct WriteArgs {
  AttentionShape shape;
  const void* patch;  // [B, C, N, N]
  int64_t patch_stride;
  const void* params;  // [B, 5]
  int64_t params_stride;
  const void* canvas;  // [B, C, H, W] or null
  void* out;           // out, [B, C, H, W]; may be the canvas
};

struct WriteBackwardArgs {
  WriteArgs forward;  // canvas and out are not used
  const void* d_out;
  void* d_patch;  // out
  int64_t d_patch_stride;
  float* d_params;  // out, [B, 5]
};

// Shared memory of the operator that takes most, in bytes.
int64_t attention_shared_bytes(int height, int width, int N);

void attention_read(const ReadArgs& args, cudaStream_t stream);
void attention_read_backward(const ReadBackwardArgs& args, cudaStream_t stream);
void attention_write(const WriteArgs& args, cudaStream_t stream);
void attention_write_backward(const WriteBackwardArgs& args, cudaStream_t stream);

}  // namespace drawgan::cuda
