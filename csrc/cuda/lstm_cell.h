// The pointwise half of an LSTM cell, after its products. Gate order i, f, g, o; [B, 4K] hold the
// four one after another.
#pragma once

#include <cstdint>

#include "number.h"

namespace drawgan::cuda {

struct LstmPointwise {
  std::int64_t batch, hidden;  // B, K
  Number sums_type;            // of sums and d_sums
  Number state_type;           // of everything else
  const void* sums;            // [B, 4K]
  const void* c;               // [B, K]
  void *h_out, *c_out;         // out, [B, K]
  void* gates;                 // out, [B, 4K] after their activations, or null; may be the sums
  // Backward
  const void *saved_gates, *saved_c;  // in: the forward's gates and c_out
  const void *d_h_out, *d_c_out;      // in, [B, K] or null
  void* d_sums;                       // out, [B, 4K]
  void* d_c;                          // out, [B, K]; may be d_c_out
  void* stream;
};

void lstm_pointwise(const LstmPointwise& args);
void lstm_pointwise_backward(const LstmPointwise& args);

}  // namespace drawgan::cuda
