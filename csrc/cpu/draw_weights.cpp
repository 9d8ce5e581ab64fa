// The weights of the recurrence: from PyTorch's layout into panels for its products.
#include "draw_layout.h"
#include "threads.h"

namespace drawgan::DRAWGAN_ISA {
namespace {

// Rows k0 .. k0 + count of one vector of columns: lane j of row k is column[j][k]. A transpose.
template <class T>
void pack_columns(const Packed<T>& w, int64_t n, int64_t k0, int64_t count,
                  const T* const (&column)[kLanes<T>]) {
  constexpr int L = kLanes<T>;
  const int64_t width = w.width(n);
  T* to = w.panel(n / kPanel<T> * kPanel<T>) + n % kPanel<T> + k0 * width;
  for (int64_t k = 0; k < count; k += L) {
    Vec<T> v[L];
    for (int j = 0; j < L; j++) v[j] = column[j] ? load_part(column[j] + k, count - k) : Vec<T>{};
    transpose_lanes<T>(v);
    for (int64_t l = 0; l < L && k + l < count; l++) store(to + (k + l) * width, v[l]);
  }
}

// Transposed weights: row k of the packed matrix is a contiguous piece of a row, row(k), or zeros.
template <class T, class F>
void pack_rows(const Packed<T>& w, int64_t columns, int part, int parts, const F& row) {
  constexpr int L = kLanes<T>;
  for (int64_t n = part * kPanel<T>; n < w.N; n += parts * kPanel<T>) {
    const int64_t width = w.width(n);
    T* to = w.panel(n);
    for (int64_t k = 0; k < w.K; k++)
      for (int64_t v = 0; v < width; v += L, to += L) {
        const T* from = row(k);
        const int64_t count = columns - n - v;
        store(to, from && count > 0 ? load_part(from + n + v, count) : Vec<T>{});
      }
  }
}

// bf16 copies, after every thread has packed.
template <class T>
void halve(const Sizes<T>& s, std::initializer_list<const Packed<T>*> all, int threads) {
  if constexpr (sizeof(T) == 4) {
    if (!s.bf16) return;
    in_parallel(threads, threads, [&](int part, int parts) {
      for (const Packed<T>* w : all) {
        const int64_t panels = (w->N + kPanel<T> - 1) / kPanel<T>;
        pack_pairs(*w, panels * part / parts, panels * (part + 1) / parts);
      }
    });
  }
}

template <class T>
void forward_panels(const ScanArgs& a, const Sizes<T>& s, const PackedWeights<T>& w) {
  constexpr int L = kLanes<T>;
  const ScanWeights& in = a.weights;
  const int64_t K = s.hidden, R = s.glimpses, Z = s.latent;
  auto array = [](void* p) { return static_cast<const T*>(p); };
  // One vector of columns: start(j) says where the numbers of column n + j start, or null.
  auto columns = [](const Packed<T>& p, int64_t n, int64_t k0, int64_t count, auto&& start) {
    const T* column[L];
    for (int j = 0; j < L; j++) column[j] = start(j);
    pack_columns(p, n, k0, count, column);
  };
  in_parallel(a.shape.threads, s.hidden_padded, [&](int part, int parts) {
    for (int64_t n = part * L; n < 4 * s.hidden_padded; n += parts * L) {
      const Interleaved at = deinterleaved<T>(n, 4);
      auto gate = [&](const T* weight, int64_t ld, int64_t first) {
        return [=](int j) {
          const int64_t unit = at.unit + j;
          return weight && unit < K ? weight + (at.part * K + unit) * ld + first : nullptr;
        };
      };
      T bias[2][L];
      for (int j = 0; j < L; j++) {
        const int64_t g = at.part * K + at.unit + j;
        const bool in_range = at.unit + j < K;
        bias[0][j] = in_range && in.enc_b_ih ? array(in.enc_b_ih)[g] + array(in.enc_b_hh)[g] : T(0);
        bias[1][j] = in_range ? array(in.dec_b_ih)[g] + array(in.dec_b_hh)[g] : T(0);
      }
      auto bias_of = [&](int i) {
        return [&, i](int j) { return static_cast<const T*>(&bias[i][j]); };
      };
      columns(w.dec, n, 0, K, gate(array(in.dec_w_hh), K, 0));
      columns(w.dec, n, K, 1, bias_of(1));
      columns(w.dec, n, K + 1, Z, gate(array(in.dec_w_ih), Z, 0));
      if (s.batch == 0) continue;  // nothing goes through the encoder
      columns(w.enc, n, 0, R, gate(array(in.enc_w_ih), R + K, 0));
      columns(w.enc, n, R, 1, bias_of(0));
      columns(w.enc, n, R + 1, K, gate(array(in.enc_w_hh), K, 0));
      columns(w.enc, n, R + 1 + K, K, gate(array(in.enc_w_ih), R + K, R));
    }
    for (int64_t n = part * L; s.batch && n < w.posterior.N; n += parts * L) {
      const Interleaved at = deinterleaved<T>(n, 2);
      auto start = [&](const T* weight, int64_t ld) {
        return [=](int j) {
          return at.unit + j < Z ? weight + (at.part * Z + at.unit + j) * ld : nullptr;
        };
      };
      columns(w.posterior, n, 0, 1, start(array(in.posterior_b), 1));
      columns(w.posterior, n, 1, K, start(array(in.posterior_w), K));
    }
    for (int64_t n = part * L; n < w.projection.N; n += parts * L) {
      auto start = [&](void* patch, void* write, void* read, int64_t ld) {
        return [=](int j) -> const T* {
          const int64_t c = n + j, c_write = c - s.patch, c_read = c_write - 5;
          if (c_write < 0) return array(patch) + c * ld;
          if (c >= s.projections) return nullptr;
          return c_read < 0 ? array(write) + c_write * ld : array(read) + c_read * ld;
        };
      };
      columns(w.projection, n, 0, K, start(in.patch_w, in.write_w, in.read_w, K));
      columns(w.projection, n, K, 1, start(in.patch_b, in.write_b, in.read_b, 1));
    }
  });
  halve<T>(s, {&w.enc, &w.dec, &w.posterior, &w.projection}, a.shape.threads);
}

template <class T>
void backward_panels(const ScanArgs& a, const Sizes<T>& s, const PackedWeights<T>& w) {
  const ScanWeights& in = a.weights;
  const int64_t K = s.hidden, R = s.glimpses, Z = s.latent;
  auto array = [](void* p) { return static_cast<const T*>(p); };
  in_parallel(a.shape.threads, a.shape.threads, [&](int part, int parts) {
    auto gates = [&](void* weight, int64_t ld, int64_t first) {
      return [=](int64_t k) {
        const Interleaved at = deinterleaved<T>(k, 4);
        return at.unit < K ? array(weight) + (at.part * K + at.unit) * ld + first : nullptr;
      };
    };
    pack_rows(w.dec_to_h_dec, K, part, parts, gates(in.dec_w_hh, K, 0));
    pack_rows(w.dec_to_z, Z, part, parts, gates(in.dec_w_ih, Z, 0));
    pack_rows(w.projection_to_h, K, part, parts, [&](int64_t k) {
      const int64_t k_write = k - s.patch, k_read = k_write - 5;
      if (k_write < 0) return array(in.patch_w) + k * K;
      return k_read < 0 ? array(in.write_w) + k_write * K : array(in.read_w) + k_read * K;
    });
    if (s.batch == 0) return;
    pack_rows(w.enc_to_h_enc, K, part, parts, gates(in.enc_w_hh, K, 0));
    pack_rows(w.enc_to_h_dec, K, part, parts, gates(in.enc_w_ih, R + K, R));
    pack_rows(w.enc_to_r, R, part, parts, gates(in.enc_w_ih, R + K, 0));
    pack_rows(w.posterior_to_h, K, part, parts, [&](int64_t k) {
      const Interleaved at = deinterleaved<T>(k, 2);
      return at.unit < Z ? array(in.posterior_w) + (at.part * Z + at.unit) * K : nullptr;
    });
  });
  halve<T>(s,
           {&w.enc_to_h_enc, &w.enc_to_h_dec, &w.enc_to_r, &w.dec_to_h_dec, &w.dec_to_z,
            &w.posterior_to_h, &w.projection_to_h},
           a.shape.threads);
}

}  // namespace

void pack_forward(const ScanArgs& a, const Sizes<float>& s, const PackedWeights<float>& w) {
  forward_panels(a, s, w);
}
void pack_forward(const ScanArgs& a, const Sizes<double>& s, const PackedWeights<double>& w) {
  forward_panels(a, s, w);
}
void pack_backward(const ScanArgs& a, const Sizes<float>& s, const PackedWeights<float>& w) {
  backward_panels(a, s, w);
}
void pack_backward(const ScanArgs& a, const Sizes<double>& s, const PackedWeights<double>& w) {
  backward_panels(a, s, w);
}

}  // namespace drawgan::DRAWGAN_ISA
