// What the recurrence's kernels take. E is the type of products' operands: float, or bf16 where
// autocast asks for it; everything else is float. Arrays are those of backends/scan/arrays.py:
// `all` counts images and prior samples, images first.
#pragma once

#include <string>

#include "draw_plan.h"
#include "operators.h"

namespace drawgan::cuda {

struct DrawWeights {                      // of E, [out, in] and [out]; inputs in the order of a row
  const void *enc, *enc_b;                // [4K, h_enc + 2K]
  const void *posterior, *posterior_b;    // [2Z, K]
  const void *dec, *dec_b;                // [4K, K + Z]
  const void *projection, *projection_b;  // [projection, K]: patch, write window, read window
};

struct DrawArrays {             // of n steps
  void* rows;                   // [n + 1, all, row] of E
  void *gates_enc, *gates_dec;  // [n, B, 4K], [n, all, 4K] of E, after their activations
  float *c_enc, *c_dec;         // [n + 1, B, K], [n + 1, all, K]
  void* projections;            // [n + 1, all, projection] of E
  float* canvases;              // [n + 1, all, C, H, W]
};

struct DrawCall {
  DrawPlan plan;
  bool bf16;
  WindowMap read, write;
  int steps;                         // n
  int64_t images, all;               // B, B + B'
  const float *x, *eps, *prior_eps;  // [B, C, H, W], [n, B, Z], [n, B', Z]
  DrawWeights weights;
  DrawArrays arrays;
  void* board;         // board_bytes for each team, zero
  unsigned* counters;  // 32 for each team, zero
  void* streamed;      // streamed_bytes for each block of a team
};

struct DrawForwardCall {
  DrawCall call;
  // Index 0 of the arrays holds the state before the first step. Recorded: the others are written.
  // Else the arrays hold that index alone, and its canvas becomes that after the last step.
  bool recorded;
  float *mu, *log_sigma;  // out, [n, B, Z], or null
  double* kl;             // [team, B], added to, or null
};

struct DrawBackwardCall {
  DrawCall call;
  const float *mu, *log_sigma;              // [n, B, Z]
  const float *given_mu, *given_log_sigma;  // [n, B, Z] or null
  const float* given_kl;                    // [B] or null
  // Out, of E: [n, B, 4K], [n, all, 4K], [n, B, 2Z], [n + 1, all, projection]
  void *d_gates_enc, *d_gates_dec, *d_posterior, *d_projections;
  // Gradients of the state after the last step, which become those of the state before the first
  float *d_h_enc, *d_h_dec, *d_c_enc, *d_c_dec;  // [B, K], [all, K], [B, K], [all, K]
  float *d_glimpses, *d_canvas;                  // [B, glimpses], [all, C, H, W]
  float *d_x, *d_eps, *d_prior_eps;  // [B, C, H, W] added to, [n, B, Z], [n, B', Z] out, or null
  bool first;  // no step comes before these: the read of the first one gets its gradient here
  bool last;   // no step comes after these: nothing is read after the last write
};

// A layout to plan with: which weights are resident is decided by what fits, or prescribed.
constexpr unsigned kAsFits = ~0u;
struct Prescribed {
  TeamKind kind;
  int team, tiles;
  unsigned resident;
};

// The plan for this device: the prescribed one, or that of the least reckoned time. Throws
// CudaError with the limit that a network is beyond.
DrawPlan plan_draw(const DrawSizes& sizes, bool bf16, int64_t images, int64_t prior,
                   const Prescribed* prescribed);

void draw_scan(const DrawForwardCall& call, cudaStream_t stream);
void draw_scan_backward(const DrawBackwardCall& call, cudaStream_t stream);

// Blocks, or clusters, of the kernels that the device runs at once; 0: they do not fit.
int resident_teams(const DrawPlan& plan, bool bf16);
int resident_teams_backward(const DrawPlan& plan, bool bf16);

}  // namespace drawgan::cuda
