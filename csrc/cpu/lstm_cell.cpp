// One LSTM step. Split over threads by units, not by samples: a thread packs the weights of a
// vector of units, all four gates, and uses them for the whole batch while they are in its cache.
#include "arena.h"
#include "gemm.h"
#include "kernels.h"
#include "lstm.h"
#include "threads.h"
#include "workspace.h"

namespace drawgan::DRAWGAN_ISA {
namespace {

template <class T>
const T* in(const void* p) {
  return static_cast<const T*>(p);
}
template <class T>
T* out(void* p) {
  return static_cast<T*>(p);
}

double work_of(const CellArgs& a) {
  return 4.0 * a.batch * a.hidden * (a.inputs + static_cast<double>(a.hidden));
}

constexpr int64_t kTile = 64;  // samples whose gates stay in L1

// Weights of one vector of units from w [4K, columns]: [columns][i f g o], four vectors a row, in
// two panels.
template <class T>
void pack_units(const T* w, int64_t hidden, int64_t columns, int64_t unit, const Packed<T>& to) {
  constexpr int L = kLanes<T>;
  for (int part = 0; part < 4; part++) {
    T* panel = to.panel(part / 2 * kPanel<T>) + part % 2 * L;
    for (int j = 0; j < L; j++) {
      const T* from = w + (part * hidden + unit + j) * columns;
      if (unit + j < hidden)
        for (int64_t k = 0; k < columns; k++) panel[k * kPanel<T> + j] = from[k];
      else
        for (int64_t k = 0; k < columns; k++) panel[k * kPanel<T> + j] = 0;
    }
  }
}

// One thread's panels of weights and tile of gates.
template <class T>
struct CellScratch {
  Packed<T> w_ih, w_hh;
  T* gates;

  CellScratch(const CellArgs& a, bool bf16, Arena<T>& arena) {
    auto pack = [&](int64_t K) {
      Packed<T> p;
      p.K = K;
      p.N = 4 * kLanes<T>;
      p.data = arena.take(p.K * p.N);
      if (bf16) p.pairs = arena.template take<uint32_t>((p.K + 1) / 2 * p.N);
      return p;
    };
    w_ih = pack(a.inputs);
    w_hh = pack(a.hidden);
    gates = arena.take(kTile * 4 * kLanes<T>);
  }
};

// Rows of x or h, with their bf16 copies if `half` is given.
template <class T>
Rows<T> rows_of(const void* p, int64_t K, int64_t b, uint16_t* half) {
  return {in<T>(p) + b * K, K, half ? half + b * half_row(K) : nullptr, half_row(K)};
}

template <class T>
void forward(const CellArgs& a) {
  constexpr int L = kLanes<T>;
  const int64_t D = a.inputs, K = a.hidden, units = (K + L - 1) / L;
  const bool bf16 = a.bf16 && kHaveBf16 && sizeof(T) == 4;
  const int threads = worthwhile(a.threads, work_of(a));
  Arena<T> counted(nullptr);
  CellScratch<T>(a, bf16, counted);
  const int64_t each = counted.bytes();
  const int64_t halves = bf16 ? a.batch * (half_row(D) + half_row(K)) : 0;
  const Workspace space(each * threads + halves * static_cast<int64_t>(sizeof(uint16_t)));
  uint16_t *half_x = nullptr, *half_h = nullptr;
  if constexpr (sizeof(T) == 4) {
    if (bf16) {
      half_x = reinterpret_cast<uint16_t*>(static_cast<char*>(space.data()) + each * threads);
      half_h = half_x + a.batch * half_row(D);
      over_slices(threads, a.batch, [&](int64_t begin, int64_t end, int) {
        halved(in<T>(a.x) + begin * D, D, end - begin, D, half_x + begin * half_row(D));
        halved(in<T>(a.h) + begin * K, K, end - begin, K, half_h + begin * half_row(K));
      });
    }
  }
  over_slices(threads, units, [&](int64_t begin, int64_t end, int part) {
    Arena<T> arena(static_cast<char*>(space.data()) + each * part);
    const CellScratch<T> scratch(a, bf16, arena);
    const Packed<T>&w_ih = scratch.w_ih, &w_hh = scratch.w_hh;
    T* gates = scratch.gates;
    for (int64_t u = begin * L; u < end * L; u += L) {
      pack_units(in<T>(a.w_ih), K, D, u, w_ih);
      pack_units(in<T>(a.w_hh), K, K, u, w_hh);
      if constexpr (sizeof(T) == 4)
        if (bf16) {
          pack_pairs(w_ih, 0, 2);
          pack_pairs(w_hh, 0, 2);
        }
      const int64_t count = K - u;
      Vec<T> bias[4];
      for (int i = 0; i < 4; i++) {
        bias[i] = Vec<T>{};
        if (a.b_ih) bias[i] += load_part(in<T>(a.b_ih) + i * K + u, count);
        if (a.b_hh) bias[i] += load_part(in<T>(a.b_hh) + i * K + u, count);
      }
      for (int64_t b = 0; b < a.batch; b += kTile) {
        const int64_t m = smaller(kTile, a.batch - b);
        for (int64_t r = 0; r < m; r++)
          for (int i = 0; i < 4; i++) store(gates + (r * 4 + i) * L, bias[i]);
        multiply(rows_of<T>(a.x, D, b, half_x), w_ih, gates, 4 * L, m, true);
        multiply(rows_of<T>(a.h, K, b, half_h), w_hh, gates, 4 * L, m, true);
        for (int64_t r = 0; r < m; r++) {
          T* g = gates + r * 4 * L;
          const int64_t at = (b + r) * K + u;
          Vec<T> c, h;
          lstm_forward(g, load_part(in<T>(a.c) + at, count), &c, &h);
          store_part(out<T>(a.h_out) + at, h, count);
          store_part(out<T>(a.c_out) + at, c, count);
          if (!a.gates) continue;
          for (int i = 0; i < 4; i++)
            store_part(out<T>(a.gates) + (b + r) * 4 * K + i * K + u, load(g + i * L), count);
        }
      }
    }
  });
}

// One panel of columns of w [rows, columns], zeros beyond.
template <class T>
void pack_panel(const T* w, int64_t rows, int64_t columns, int64_t n, T* to) {
  for (int64_t k = 0; k < rows; k++)
    for (int64_t v = 0; v < kPanel<T>; v += kLanes<T>, to += kLanes<T>)
      store(to, columns > n + v ? load_part(w + k * columns + n + v, columns - n - v) : Vec<T>{});
}

// C [m, columns] from a product panel by panel, A(i, k) = A[i * ai + k * ak], B [K, columns].
template <class T>
void panel_product(const T* A, int64_t ai, int64_t ak, const T* B, T* C, int64_t m, int64_t columns,
                   int64_t K, int64_t n, T* packed, T* tile) {
  pack_panel(B, K, columns, n, packed);
  for (int64_t i = 0; i < m; i += kTile) {
    const int64_t rows = smaller(kTile, m - i);
    const bool whole = n + kPanel<T> <= columns;
    T* to = whole ? C + i * columns + n : tile;
    multiply(A + i * ai, ai, ak, packed, kPanel<T>, to, whole ? columns : kPanel<T>, rows,
             kPanel<T>, K, false);
    if (whole) continue;
    for (int64_t r = 0; r < rows; r++)
      for (int64_t v = 0; v < columns - n; v += kLanes<T>)
        store_part(C + (i + r) * columns + n + v, load(tile + r * kPanel<T> + v), columns - n - v);
  }
}

template <class T>
void backward(const CellArgs& a) {
  constexpr int L = kLanes<T>;
  const int64_t D = a.inputs, K = a.hidden, B = a.batch;
  const int threads = worthwhile(a.threads, 2 * work_of(a));
  const int64_t deepest = larger(4 * K, B);
  const int64_t each = round_up((deepest + kTile) * kPanel<T> * sizeof(T), 64);
  const int64_t ld = odd_lines<T>(4 * K), gates_bytes = B * ld * static_cast<int64_t>(sizeof(T));
  const Workspace space(gates_bytes + each * threads);
  T* d_gates = static_cast<T*>(space.data());

  over_slices(threads, B, [&](int64_t begin, int64_t end, int) {
    for (int64_t b = begin; b < end; b++)
      for (int64_t u = 0; u < K; u += L) {
        const int64_t count = K - u, at = b * K + u;
        auto given = [&](const void* p) { return p ? load_part(in<T>(p) + at, count) : Vec<T>{}; };
        Vec<T> gates[4], d[4], d_c = given(a.d_c_out);
        for (int i = 0; i < 4; i++)
          gates[i] = load_part(in<T>(a.saved_gates) + b * 4 * K + i * K + u, count);
        lstm_backward<T>(gates, given(a.c), given(a.saved_c), given(a.d_h_out), &d_c, d);
        if (a.d_c) store_part(out<T>(a.d_c) + at, d_c, count);
        for (int i = 0; i < 4; i++) store_part(d_gates + b * ld + i * K + u, d[i], count);
      }
  });

  struct Job {
    const T* A;
    int64_t ai, ak;
    const void* B;
    void* C;
    int64_t m, columns, K;
  };
  const Job jobs[4] = {
      {d_gates, ld, 1, a.w_ih, a.d_x, B, D, 4 * K},
      {d_gates, ld, 1, a.w_hh, a.d_h, B, K, 4 * K},
      {d_gates, 1, ld, a.x, a.d_w_ih, 4 * K, D, B},
      {d_gates, 1, ld, a.h, a.d_w_hh, 4 * K, K, B},
  };
  in_parallel(threads, threads, [&](int part, int parts) {
    T* packed = reinterpret_cast<T*>(static_cast<char*>(space.data()) + gates_bytes + each * part);
    int64_t turn = 0;
    for (const Job& j : jobs)
      for (int64_t n = 0; j.C && n < j.columns; n += kPanel<T>)
        if (turn++ % parts == part)
          panel_product(j.A, j.ai, j.ak, in<T>(j.B), out<T>(j.C), j.m, j.columns, j.K, n, packed,
                        packed + deepest * kPanel<T>);
    if (!a.d_b || part > 0) return;
    for (int64_t g = 0; g < 4 * K; g += L) {
      Vec<T> sum{};
      for (int64_t b = 0; b < B; b++) sum += load_part(d_gates + b * ld + g, 4 * K - g);
      store_part(out<T>(a.d_b) + g, sum, 4 * K - g);
    }
  });
}

}  // namespace

void lstm_cell(const CellArgs& a) { a.double_precision ? forward<double>(a) : forward<float>(a); }
void lstm_cell_backward(const CellArgs& a) {
  a.double_precision ? backward<double>(a) : backward<float>(a);
}

}  // namespace drawgan::DRAWGAN_ISA
