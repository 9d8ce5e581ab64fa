// A boundary between two steps of the recurrence: the write of the step before and the read of the
// next, of one sample; forward and backward side by side.
#pragma once

#include "draw_layout.h"

namespace drawgan::DRAWGAN_ISA {

// Boundary k of the segment that starts at step `first`: the write of the step before, the read of
// the next.
template <class T>
struct Boundary {
  const ScanArgs& a;
  const Sizes<T>& s;
  const Group<T>& g;
  const ThreadScratch<T>& scratch;

  void run(int64_t first, int64_t k, int64_t b, bool write, bool read) const {
    const T* P = g.P + (k * g.rows + b) * s.ld_projection;
    T* canvas = g.canvas + b * s.image;
    if (write) {
      add_patch(P, canvas);
      trace_write(first + k - 1, b, P, canvas);
    }
    if (!read) return;
    T *r = g.row(k, b), *sigmoid = g.sigmoid + (k * g.rows + b) * s.image;
    const T* x = g.x + b * s.image;
    T* error = scratch.image;  // x - sigmoid(canvas)
    for (int64_t at = 0; at < s.image; at += kLanes<T>) {
      const Vec<T> y = vsigmoid(load(canvas + at));
      store(sigmoid + at, y);
      store(error + at, load(x + at) - y);
    }
    const int64_t half = s.glimpses / 2;
    if (!s.attention) {
      unpad_rows(x, s.image_rows, s.width, s.ld, r);
      unpad_rows(error, s.image_rows, s.width, s.ld, r + half);
      return;
    }
    const T* params = P + s.patch + 5;
    const Bank<T> bank(a.shape.read, s.read, params, false, true, scratch.attention);
    read_image(bank, x, r);
    read_image(bank, error, r + half);
    if (a.read_params) {
      T* to = static_cast<T*>(a.read_params) + ((first + k) * g.rows + b) * 5;
      for (int i = 0; i < 5; i++) to[i] = params[i];
    }
  }

 private:
  void add_patch(const T* P, T* canvas) const {
    if (s.attention) {
      const Bank<T> bank(a.shape.write, s.write, P + s.patch, false, false, scratch.attention);
      write_patch(bank, P, canvas, canvas);
      return;
    }
    for (int64_t row = 0; row < s.image_rows; row++)
      for (int64_t v = 0; v < s.width; v += kLanes<T>) {
        T* at = canvas + row * s.ld + v;
        store(at, load(at) + load_part(P + row * s.width + v, s.width - v));
      }
  }

  void trace_write(int64_t t, int64_t b, const T* P, const T* canvas) const {
    void* canvases = g.encoder ? a.canvases : a.prior_canvases;
    void* params = g.encoder ? a.write_params : a.prior_write_params;
    if (canvases)
      unpad_rows(canvas, s.image_rows, s.width, s.ld,
                 static_cast<T*>(canvases) + (t * g.rows + b) * s.pixels);
    if (params && s.attention)
      for (int i = 0; i < 5; i++)
        static_cast<T*>(params)[(t * g.rows + b) * 5 + i] = P[s.patch + i];
  }
};

// Backward of Boundary.
template <class T>
struct BoundaryBackward {
  const ScanArgs& a;
  const Sizes<T>& s;
  const Group<T>& g;
  const GroupGradient<T>& d;
  const ThreadScratch<T>& scratch;

  // From d.r (of the read's glimpses) and d.canvas to d.P of row k; d.canvas becomes the gradient
  // of the canvas before the write, which is that after it.
  void run(int64_t k, int64_t b, bool write, bool read) const {
    const T* P = g.P + (k * g.rows + b) * s.ld_projection;
    T* d_P = d.P + (k * g.rows + b) * s.ld_projection;
    T* d_canvas = d.canvas + b * s.image;
    if (s.attention) memset(d_P + s.projections - 5, 0, 5 * sizeof(T));
    if (read) read_backward(k, b, P, d_P, d_canvas);
    if (!write)
      memset(d_P, 0, (s.patch + (s.attention ? 5 : 0)) * sizeof(T));
    else if (s.attention)
      write_backward(P, d_P, d_canvas);
    else
      unpad_rows(d_canvas, s.image_rows, s.width, s.ld, d_P);
  }

 private:
  void read_backward(int64_t k, int64_t b, const T* P, T* d_P, T* d_canvas) const {
    const int64_t half = s.glimpses / 2;
    const T *d_r = d.r + b * s.glimpses_padded, *x = g.x + b * s.image;
    const T* sigmoid = g.sigmoid + (k * g.rows + b) * s.image;
    T* d_x = d.x ? d.x + b * s.image : nullptr;
    T *d_error = scratch.image, *error = scratch.error;
    if (s.attention) {
      for (int64_t at = 0; at < s.image; at += kLanes<T>)
        store(error + at, load(x + at) - load(sigmoid + at));
      const T* params = P + s.patch + 5;
      const Bank<T> bank(a.shape.read, s.read, params, true, false, scratch.attention);
      WindowBackward<T> window(bank);
      const T* of_x = window.add(x, d_r).Z;
      if (d_x) spread(bank, of_x, d_x, d_x);
      spread(bank, window.add(error, d_r + half).Z, static_cast<T*>(nullptr), d_error);
      window.finish(params, d_P + s.patch + 5);
    } else {
      pad_rows(d_r + half, s.image_rows, s.width, s.ld, d_error);
      if (d_x) add_rows(d_r, d_x);
    }
    for (int64_t at = 0; at < s.image; at += kLanes<T>) {
      const Vec<T> y = load(sigmoid + at), d = load(d_error + at);
      store(d_canvas + at, load(d_canvas + at) - d * (y - y * y));
      if (d_x) store(d_x + at, load(d_x + at) + d);
    }
  }

  void add_rows(const T* from, T* padded) const {
    for (int64_t row = 0; row < s.image_rows; row++)
      for (int64_t v = 0; v < s.width; v += kLanes<T>) {
        T* at = padded + row * s.ld + v;
        store(at, load(at) + load_part(from + row * s.width + v, s.width - v));
      }
  }

  void write_backward(const T* P, T* d_P, const T* d_canvas) const {
    const T* params = P + s.patch;
    const Bank<T> bank(a.shape.write, s.write, params, true, true, scratch.attention);
    WindowBackward<T> window(bank);
    contract_width(bank, window.add(d_canvas, P).V, d_P);
    window.finish(params, d_P + s.patch);
  }
};

}  // namespace drawgan::DRAWGAN_ISA
