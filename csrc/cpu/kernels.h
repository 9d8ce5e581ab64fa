// What one instruction set's kernels take and give. Plain pointers, sizes and numbers: nothing here
// knows torch, Python or an instruction set, and every set fills one table of these functions.
//
// Arrays are C-contiguous with the shapes in the comments. `double_precision` says whether they
// hold float or double; a null pointer stands for "not given" or "not wanted".
#pragma once

#include <cstdint>

#include "../window_map.h"

namespace drawgan {

struct AttentionShape {
  int64_t batch, channels, height, width, N;
  WindowMap map;
  bool double_precision;
  int threads;
};

struct ReadArgs {
  AttentionShape shape;
  int64_t images;            // how many are read through the window
  const void* const* image;  // [images] of [B, C, H, W]
  const void* params;        // [B, 5]
  const void* canvas;        // [B, C, H, W] or null; given: image[0] - sigmoid(canvas) is read too
  void* const* glimpse;      // out, [images (+ 1 with a canvas)] of [B, C, N, N]
  const void* const* d_glimpse;  // backward: in, as glimpse; an entry may be null
  void* const* d_image;          // backward: out, as image; an entry may be null
  void* d_params;                // backward: out, [B, 5]
  void* d_canvas;                // backward: out, [B, C, H, W] or null
};

struct WriteArgs {
  AttentionShape shape;
  const void* patch;   // [B, C, N, N]
  const void* params;  // [B, 5]
  const void* canvas;  // [B, C, H, W] or null
  void* out;           // out, [B, C, H, W]
  const void* d_out;   // backward: in, [B, C, H, W]
  void* d_patch;       // backward: out, [B, C, N, N]
  void* d_params;      // backward: out, [B, 5]
};

struct CellArgs {
  int64_t batch, inputs, hidden;  // B, D, K
  bool double_precision;
  bool bf16;  // forward: operands of the products rounded to bf16 where the CPU multiplies them
  int threads;
  const void *x, *h, *c;                  // [B, D], [B, K], [B, K]
  const void *w_ih, *w_hh, *b_ih, *b_hh;  // [4K, D], [4K, K], [4K] or null
  void *h_out, *c_out;                    // out, [B, K]
  void* gates;                        // out, [B, 4K]: i, f, g, o after their activations, or null
  const void *saved_gates, *saved_c;  // backward: in, the forward's gates and c_out
  const void *d_h_out, *d_c_out;      // backward: in, [B, K] or null
  void *d_x, *d_h, *d_c;              // backward: out, or null
  void *d_w_ih, *d_w_hh, *d_b;        // backward: out, or null; d_b [4K] is that of either bias
};

struct ScanShape {
  int64_t steps, batch, prior_batch;  // T, B, B'
  int64_t channels, height, width, read_size, write_size, hidden, latent;
  bool attention;  // false: reads the whole image and writes the whole canvas
  bool bf16;       // operands of the products rounded to bf16 where the CPU multiplies them
  bool recompute;  // keep the state of every few steps only, and run forward again in backward
  bool double_precision;
  WindowMap read, write;
  int threads;
};

struct ScanWeights {  // as DrawWeights: [out, in], gate order i, f, g, o; null without attention
  void *enc_w_ih, *enc_w_hh, *enc_b_ih, *enc_b_hh, *dec_w_ih, *dec_w_hh, *dec_b_ih, *dec_b_hh;
  void *posterior_w, *posterior_b, *patch_w, *patch_b, *read_w, *read_b, *write_w, *write_b;
};

struct ScanArgs {
  ScanShape shape;
  const void *x, *eps, *prior_eps;  // [B, C, H, W], [T, B, Z], [T, B', Z]
  ScanWeights weights;              // read only
  void* saved;  // forward: out, backward: in; scan_saved_bytes() bytes, or null: nothing is kept
  // Out, [B, C, H, W], [T, B, Z] twice, [B], [B', C, H, W]; no kl when forward runs again
  void *canvas, *mu, *log_sigma, *kl, *prior_canvas;
  // Trace, out, each or null: every canvas and the raw numbers of every window
  void *canvases, *read_params, *write_params;  // [T, B, C, H, W], [T, B, 5] twice
  void *prior_canvases, *prior_write_params;    // [T, B', C, H, W], [T, B', 5]
  // Backward. mu and log_sigma are then inputs: the forward's.
  const void *d_canvas, *d_mu, *d_log_sigma, *d_kl, *d_prior_canvas;  // in, each or null
  void *d_x, *d_eps, *d_prior_eps;                                    // out, each or null
  ScanWeights d_weights;                                              // out, each or null
};

// Bytes to save for backward: per image of the batch, per prior sample, and constant. Sizes too
// large to count make it throw std::overflow_error.
struct SavedBytes {
  int64_t per_image, per_prior_sample, constant;
};

struct Kernels {
  const char* name;
  void (*attention_read)(const ReadArgs&);
  void (*attention_read_backward)(const ReadArgs&);
  void (*attention_write)(const WriteArgs&);
  void (*attention_write_backward)(const WriteArgs&);
  void (*lstm_cell)(const CellArgs&);
  void (*lstm_cell_backward)(const CellArgs&);
  SavedBytes (*scan_saved_bytes)(const ScanShape&);
  void (*draw_scan)(const ScanArgs&);
  void (*draw_scan_backward)(const ScanArgs&);
};

namespace portable {
extern const Kernels kernels;
}
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}
namespace avx512bf16 {
extern const Kernels kernels;
}

}  // namespace drawgan
