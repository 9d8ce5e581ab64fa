// The extension module drawgan_fast._native_cpu. Thin: numbers, sizes and addresses in, kernels run
// without the interpreter's lock. Shapes and dtypes were checked in Python; 0 is a null pointer.
#include <pybind11/stl.h>

#include <array>
#include <bit>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "cpu/dispatch.h"
#include "cpu/kernels.h"
#include "cpu/workspace.h"
#include "python_types.h"
#include "tensors.h"

namespace drawgan {
namespace {

using Addresses = std::vector<Address>;
using WeightAddresses = std::array<Address, sizeof(ScanWeights) / sizeof(void*)>;

class Pointers {
 public:
  explicit Pointers(const Addresses& addresses) {
    pointers_.reserve(addresses.size());
    for (Address address : addresses) pointers_.push_back(pointer(address));
  }
  void* const* data() const { return pointers_.data(); }

 private:
  std::vector<void*> pointers_;
};

ScanWeights weights_of(const WeightAddresses& addresses) {
  return std::bit_cast<ScanWeights>(addresses);
}

// ------------------------------------------------------------------------------------- attention

void check_counts(size_t images, Address canvas, size_t glimpses) {
  const size_t expected = images + (canvas ? 1 : 0);
  if (images == 0 || glimpses != expected || (canvas && images != 1))
    throw std::invalid_argument("a read takes one glimpse per image, and two of one image with a " +
                                std::string("canvas; got ") + std::to_string(images) +
                                " images and " + std::to_string(glimpses) + " glimpses");
}

void attention_read(bool double_precision, const WindowMap& map, int64_t B, int64_t C, int64_t H,
                    int64_t W, int64_t N, const Addresses& images, Address params, Address canvas,
                    const Addresses& glimpses, int threads) {
  check_counts(images.size(), canvas, glimpses.size());
  const Pointers image(images), glimpse(glimpses);
  ReadArgs args{};
  args.shape = {B, C, H, W, N, map, double_precision, threads};
  args.images = static_cast<int64_t>(images.size());
  args.image = image.data();
  args.params = pointer(params);
  args.canvas = pointer(canvas);
  args.glimpse = glimpse.data();
  kernels_in_use().attention_read(args);
}

void attention_read_backward(bool double_precision, const WindowMap& map, int64_t B, int64_t C,
                             int64_t H, int64_t W, int64_t N, const Addresses& images,
                             Address params, Address canvas, const Addresses& d_glimpses,
                             const Addresses& d_images, Address d_params, Address d_canvas,
                             int threads) {
  check_counts(images.size(), canvas, d_glimpses.size());
  if (d_images.size() != images.size())
    throw std::invalid_argument("d_images must be as many as images");
  const Pointers image(images), d_glimpse(d_glimpses), d_image(d_images);
  ReadArgs args{};
  args.shape = {B, C, H, W, N, map, double_precision, threads};
  args.images = static_cast<int64_t>(images.size());
  args.image = image.data();
  args.params = pointer(params);
  args.canvas = pointer(canvas);
  args.d_glimpse = d_glimpse.data();
  args.d_image = d_image.data();
  args.d_params = pointer(d_params);
  args.d_canvas = pointer(d_canvas);
  kernels_in_use().attention_read_backward(args);
}

void attention_write(bool double_precision, const WindowMap& map, int64_t B, int64_t C, int64_t H,
                     int64_t W, int64_t N, Address patch, Address params, Address canvas,
                     Address out, int threads) {
  WriteArgs args{};
  args.shape = {B, C, H, W, N, map, double_precision, threads};
  args.patch = pointer(patch);
  args.params = pointer(params);
  args.canvas = pointer(canvas);
  args.out = pointer(out);
  kernels_in_use().attention_write(args);
}

void attention_write_backward(bool double_precision, const WindowMap& map, int64_t B, int64_t C,
                              int64_t H, int64_t W, int64_t N, Address patch, Address params,
                              Address d_out, Address d_patch, Address d_params, int threads) {
  WriteArgs args{};
  args.shape = {B, C, H, W, N, map, double_precision, threads};
  args.patch = pointer(patch);
  args.params = pointer(params);
  args.d_out = pointer(d_out);
  args.d_patch = pointer(d_patch);
  args.d_params = pointer(d_params);
  kernels_in_use().attention_write_backward(args);
}

// Here and below addresses come in groups, in the order in which Python's tuples have them.

// ------------------------------------------------------------------------------------- LSTM cell

void lstm_cell(bool double_precision, bool bf16, int64_t B, int64_t D, int64_t K,
               const std::array<Address, 7>& inputs, Address h_out, Address c_out, Address gates,
               int threads) {
  const auto [x, h, c, w_ih, w_hh, b_ih, b_hh] = inputs;
  CellArgs args{};
  args.batch = B, args.inputs = D, args.hidden = K;
  args.double_precision = double_precision, args.bf16 = bf16, args.threads = threads;
  args.x = pointer(x), args.h = pointer(h), args.c = pointer(c);
  args.w_ih = pointer(w_ih), args.w_hh = pointer(w_hh);
  args.b_ih = pointer(b_ih), args.b_hh = pointer(b_hh);
  args.h_out = pointer(h_out), args.c_out = pointer(c_out);
  args.gates = pointer(gates);
  kernels_in_use().lstm_cell(args);
}

void lstm_cell_backward(bool double_precision, int64_t B, int64_t D, int64_t K,
                        const std::array<Address, 9>& inputs,
                        const std::array<Address, 6>& gradients, int threads) {
  const auto [x, h, c, w_ih, w_hh, gates, c_out, d_h_out, d_c_out] = inputs;
  const auto [d_x, d_h, d_c, d_w_ih, d_w_hh, d_b] = gradients;
  CellArgs args{};
  args.batch = B, args.inputs = D, args.hidden = K;
  args.double_precision = double_precision, args.threads = threads;
  args.x = pointer(x), args.h = pointer(h), args.c = pointer(c);
  args.w_ih = pointer(w_ih), args.w_hh = pointer(w_hh);
  args.saved_gates = pointer(gates), args.saved_c = pointer(c_out);
  args.d_h_out = pointer(d_h_out), args.d_c_out = pointer(d_c_out);
  args.d_x = pointer(d_x), args.d_h = pointer(d_h), args.d_c = pointer(d_c);
  args.d_w_ih = pointer(d_w_ih), args.d_w_hh = pointer(d_w_hh), args.d_b = pointer(d_b);
  kernels_in_use().lstm_cell_backward(args);
}

// ------------------------------------------------------------------------------------------ scan

std::tuple<int64_t, int64_t, int64_t> scan_saved_bytes(const ScanShape& shape) {
  const SavedBytes bytes = kernels_in_use().scan_saved_bytes(shape);
  return {bytes.per_image, bytes.per_prior_sample, bytes.constant};
}

void draw_scan(const ScanShape& shape, int threads, const std::array<Address, 3>& inputs,
               const WeightAddresses& weights, const std::array<Address, 11>& results) {
  ScanArgs args{};
  args.shape = shape;
  args.shape.threads = threads;
  const auto [x, eps, prior_eps] = inputs;
  args.x = pointer(x), args.eps = pointer(eps), args.prior_eps = pointer(prior_eps);
  args.weights = weights_of(weights);
  const auto [canvas, mu, log_sigma, kl, prior_canvas, saved, canvases, read_params, write_params,
              prior_canvases, prior_write_params] = results;
  args.canvas = pointer(canvas), args.mu = pointer(mu), args.log_sigma = pointer(log_sigma);
  args.kl = pointer(kl), args.prior_canvas = pointer(prior_canvas);
  args.saved = pointer(saved);
  args.canvases = pointer(canvases);
  args.read_params = pointer(read_params), args.write_params = pointer(write_params);
  args.prior_canvases = pointer(prior_canvases);
  args.prior_write_params = pointer(prior_write_params);
  kernels_in_use().draw_scan(args);
}

void draw_scan_backward(const ScanShape& shape, int threads, const std::array<Address, 3>& inputs,
                        const WeightAddresses& weights, const std::array<Address, 3>& forward,
                        const std::array<Address, 5>& given, const std::array<Address, 3>& d_inputs,
                        const WeightAddresses& d_weights) {
  ScanArgs args{};
  args.shape = shape;
  args.shape.threads = threads;
  const auto [x, eps, prior_eps] = inputs;
  args.x = pointer(x), args.eps = pointer(eps), args.prior_eps = pointer(prior_eps);
  args.weights = weights_of(weights);
  const auto [saved, mu, log_sigma] = forward;
  args.saved = pointer(saved);
  args.mu = pointer(mu), args.log_sigma = pointer(log_sigma);
  const auto [d_canvas, d_mu, d_log_sigma, d_kl, d_prior_canvas] = given;
  args.d_canvas = pointer(d_canvas), args.d_mu = pointer(d_mu);
  args.d_log_sigma = pointer(d_log_sigma), args.d_kl = pointer(d_kl);
  args.d_prior_canvas = pointer(d_prior_canvas);
  const auto [d_x, d_eps, d_prior_eps] = d_inputs;
  args.d_x = pointer(d_x), args.d_eps = pointer(d_eps), args.d_prior_eps = pointer(d_prior_eps);
  args.d_weights = weights_of(d_weights);
  kernels_in_use().draw_scan_backward(args);
}

// --------------------------------------------------------------------------------- Python's types

// A block of the pool that Python sees as writable bytes, and gives back when it collects it.
class Buffer {
 public:
  explicit Buffer(int64_t bytes) : block_(bytes), bytes_(bytes == 0 ? 64 : bytes) {}
  py::buffer_info view() { return {static_cast<uint8_t*>(block_.data()), bytes_}; }

 private:
  Workspace block_;
  int64_t bytes_;
};

void bind_types(py::module_& m) {
  bind_window_map(m);
  py::class_<ScanShape>(m, "ScanShape")
      .def(py::init(&from_fields<ScanShape>))
      .def_readwrite("steps", &ScanShape::steps)
      .def_readwrite("batch", &ScanShape::batch)
      .def_readwrite("prior_batch", &ScanShape::prior_batch)
      .def_readwrite("channels", &ScanShape::channels)
      .def_readwrite("height", &ScanShape::height)
      .def_readwrite("width", &ScanShape::width)
      .def_readwrite("read_size", &ScanShape::read_size)
      .def_readwrite("write_size", &ScanShape::write_size)
      .def_readwrite("hidden", &ScanShape::hidden)
      .def_readwrite("latent", &ScanShape::latent)
      .def_readwrite("attention", &ScanShape::attention)
      .def_readwrite("bf16", &ScanShape::bf16)
      .def_readwrite("recompute", &ScanShape::recompute)
      .def_readwrite("double_precision", &ScanShape::double_precision)
      .def_readwrite("read", &ScanShape::read)
      .def_readwrite("write", &ScanShape::write);
  py::class_<Buffer>(m, "Workspace", py::buffer_protocol())
      .def(py::init<int64_t>(), py::arg("nbytes"))
      .def_buffer(&Buffer::view);
}

}  // namespace

PYBIND11_MODULE(_native_cpu, m) {
  m.doc() = "Compiled CPU core of drawgan_fast; private, see drawgan_fast.functional.";
  bind_types(m);

  m.def("compiled_isas", &compiled_isas);
  m.def("supported_isas", &supported_isas);
  m.def("use_isa", &use_kernels, py::arg("name"));
  m.def("isa", [] { return kernels_in_use().name; });
  m.def("has_openmp", [] {
#ifdef _OPENMP
    return true;
#else
    return false;
#endif
  });

  m.def(
      "read_tensors",
      [](py::type tensor, py::type parameter) {
        return tensor_reader().emplace(std::move(tensor), std::move(parameter)).able();
      },
      py::arg("tensor"), py::arg("parameter"));
  m.def("addresses", &addresses, py::arg("tensors"));
  py::class_<Signature>(m, "Signature")
      .def(py::init<std::vector<Signature::Shape>>(), py::arg("shapes"))
      .def("device", &Signature::device, py::arg("tensors"));

  m.def("pool_info", [] {
    const PoolInfo info = pool_info();
    py::dict facts;
    facts["in_use"] = info.in_use;
    facts["kept"] = info.kept;
    return facts;
  });
  m.def("pool_release", &pool_release);
  m.def("pool_poison", &pool_poison, py::arg("on"));

  m.def("attention_read", &attention_read, NoGil());
  m.def("attention_read_backward", &attention_read_backward, NoGil());
  m.def("attention_write", &attention_write, NoGil());
  m.def("attention_write_backward", &attention_write_backward, NoGil());
  m.def("lstm_cell", &lstm_cell, NoGil());
  m.def("lstm_cell_backward", &lstm_cell_backward, NoGil());
  m.def("scan_saved_bytes", &scan_saved_bytes);
  m.def("draw_scan", &draw_scan, NoGil());
  m.def("draw_scan_backward", &draw_scan_backward, NoGil());
}

}  // namespace drawgan
