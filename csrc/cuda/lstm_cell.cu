#include <algorithm>
#include <stdexcept>

#include "lstm.cuh"
#include "lstm_cell.h"
#include "vectors.cuh"

namespace drawgan::cuda {
namespace {

constexpr unsigned kThreads = 128;

// Thread (x, y) of a block has N units of one sample; blocks lie along the batch (x) and along the
// units (y).
struct Units {
  std::int64_t b, k;
  __device__ bool inside(std::int64_t batch, std::int64_t hidden) const {
    return b < batch && k < hidden;
  }
};

template <int N>
__device__ inline Units own_units() {
  return {std::int64_t{blockIdx.x} * blockDim.y + threadIdx.y,
          (std::int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * N};
}

template <class Sum, class State, int N>
__global__ void __launch_bounds__(kThreads)
    pointwise(const Sum* sums, const State* c, State* h_out, State* c_out, State* gates,
              std::int64_t batch, std::int64_t hidden) {
  const Units at = own_units<N>();
  if (!at.inside(batch, hidden)) return;
  const std::int64_t row = at.b * 4 * hidden + at.k, unit = at.b * hidden + at.k;
  float i[N], f[N], g[N], o[N], state[N], h[N];
  load(sums + row, i);
  load(sums + row + hidden, f);
  load(sums + row + 2 * hidden, g);
  load(sums + row + 3 * hidden, o);
  load(c + unit, state);
#pragma unroll
  for (int n = 0; n < N; n++) {
    const LstmGates gate = lstm_gates(i[n], f[n], g[n], o[n]);
    h[n] = lstm_output(gate, state[n]);
    i[n] = gate.i, f[n] = gate.f, g[n] = gate.g, o[n] = gate.o;
  }
  store(c_out + unit, state);
  store(h_out + unit, h);
  if (gates == nullptr) return;
  store(gates + row, i);
  store(gates + row + hidden, f);
  store(gates + row + 2 * hidden, g);
  store(gates + row + 3 * hidden, o);
}

template <class Sum, class State, int N>
__global__ void __launch_bounds__(kThreads)
    pointwise_backward(const State* gates, const State* c, const State* c_out, const State* d_h_out,
                       const State* d_c_out, Sum* d_sums, State* d_c, std::int64_t batch,
                       std::int64_t hidden) {
  const Units at = own_units<N>();
  if (!at.inside(batch, hidden)) return;
  const std::int64_t row = at.b * 4 * hidden + at.k, unit = at.b * hidden + at.k;
  float i[N], f[N], g[N], o[N], before[N], after[N], d_h[N] = {}, d_state[N] = {};
  load(gates + row, i);
  load(gates + row + hidden, f);
  load(gates + row + 2 * hidden, g);
  load(gates + row + 3 * hidden, o);
  load(c + unit, before);
  load(c_out + unit, after);
  if (d_h_out != nullptr) load(d_h_out + unit, d_h);
  if (d_c_out != nullptr) load(d_c_out + unit, d_state);
#pragma unroll
  for (int n = 0; n < N; n++) {
    const LstmGates d =
        lstm_backward({i[n], f[n], g[n], o[n]}, before[n], after[n], d_h[n], d_state[n]);
    i[n] = d.i, f[n] = d.f, g[n] = d.g, o[n] = d.o;
  }
  store(d_sums + row, i);
  store(d_sums + row + hidden, f);
  store(d_sums + row + 2 * hidden, g);
  store(d_sums + row + 3 * hidden, o);
  store(d_c + unit, d_state);
}

// Narrow cells: several samples in a block.
LaunchShape shape_of(std::int64_t batch, std::int64_t hidden, int N) {
  const std::int64_t units = (hidden + N - 1) / N;
  unsigned wide = 1;
  while (wide < kThreads && wide < units) wide *= 2;
  const unsigned high = kThreads / wide;
  const std::int64_t along = (batch + high - 1) / high, across = (units + wide - 1) / wide;
  if (along > INT32_MAX || across > UINT16_MAX)
    throw std::invalid_argument("lstm_cell: " + std::to_string(batch) + " samples of " +
                                std::to_string(hidden) + " units are more than one launch takes");
  return {dim3(static_cast<unsigned>(along), static_cast<unsigned>(across)), dim3(wide, high)};
}

template <class T>
T* as(void* address) {
  return static_cast<T*>(address);
}
template <class T>
const T* as(const void* address) {
  return static_cast<const T*>(address);
}

// All of these can be read N at a time.
template <int N, class... T>
bool all_in_packs(std::int64_t hidden, const T*... rows) {
  return (in_packs<N>(rows, hidden) && ...);
}

template <class Sum, class State, int N>
void forward(const LstmPointwise& a) {
  launch("lstm_pointwise", pointwise<Sum, State, N>, shape_of(a.batch, a.hidden, N),
         static_cast<cudaStream_t>(a.stream), as<Sum>(a.sums), as<State>(a.c), as<State>(a.h_out),
         as<State>(a.c_out), as<State>(a.gates), a.batch, a.hidden);
}

template <class Sum, class State, int N>
void backward(const LstmPointwise& a) {
  launch("lstm_pointwise_backward", pointwise_backward<Sum, State, N>,
         shape_of(a.batch, a.hidden, N), static_cast<cudaStream_t>(a.stream),
         as<State>(a.saved_gates), as<State>(a.c), as<State>(a.saved_c), as<State>(a.d_h_out),
         as<State>(a.d_c_out), as<Sum>(a.d_sums), as<State>(a.d_c), a.batch, a.hidden);
}

// As many units a thread as fit 16 bytes of the larger type; one where rows are not aligned.
template <class Sum, class State>
constexpr int kUnits = kAccessBytes / static_cast<int>(std::max(sizeof(Sum), sizeof(State)));

struct Forward {
  template <class Sum, class State>
  static void run(const LstmPointwise& a) {
    constexpr int N = kUnits<Sum, State>;
    if (all_in_packs<N>(a.hidden, as<Sum>(a.sums), as<State>(a.c), as<State>(a.h_out),
                        as<State>(a.c_out), as<State>(a.gates)))
      forward<Sum, State, N>(a);
    else
      forward<Sum, State, 1>(a);
  }
};

struct Backward {
  template <class Sum, class State>
  static void run(const LstmPointwise& a) {
    constexpr int N = kUnits<Sum, State>;
    if (all_in_packs<N>(a.hidden, as<State>(a.saved_gates), as<State>(a.c), as<State>(a.saved_c),
                        as<State>(a.d_h_out), as<State>(a.d_c_out), as<Sum>(a.d_sums),
                        as<State>(a.d_c)))
      backward<Sum, State, N>(a);
    else
      backward<Sum, State, 1>(a);
  }
};

// Sums have the state's type, or a shorter one where products were rounded (autocast).
template <class Direction>
void choose(const LstmPointwise& a) {
  if (a.batch == 0 || a.hidden == 0) return;
  const Number sums = a.sums_type, state = a.state_type;
  if (sums == Number::float32 && state == Number::float32)
    Direction::template run<float, float>(a);
  else if (sums == Number::bfloat16 && state == Number::bfloat16)
    Direction::template run<bf16, bf16>(a);
  else if (sums == Number::float16 && state == Number::float16)
    Direction::template run<fp16, fp16>(a);
  else if (sums == Number::bfloat16 && state == Number::float32)
    Direction::template run<bf16, float>(a);
  else if (sums == Number::float16 && state == Number::float32)
    Direction::template run<fp16, float>(a);
  else
    throw std::invalid_argument("lstm_cell: sums must have the state's type or a shorter one");
}

}  // namespace

void lstm_pointwise(const LstmPointwise& args) { choose<Forward>(args); }
void lstm_pointwise_backward(const LstmPointwise& args) { choose<Backward>(args); }

}  // namespace drawgan::cuda
