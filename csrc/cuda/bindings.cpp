// The extension module of the CUDA core, drawgan_fast._native_cuda, and of its emulation. Thin:
// numbers, sizes and addresses in; a stream is the number that torch gives. Shapes, dtypes and
// devices were checked in Python. The current device must be the arrays'.
#include "bindings.h"

#include "lstm_cell.h"
#include "number.h"
#include "platform.h"

#ifdef DRAWGAN_CUDA_EMULATION
#define DRAWGAN_MODULE _native_cuda_emulated
#else
#define DRAWGAN_MODULE _native_cuda
#endif

namespace drawgan::cuda {
namespace {

// ------------------------------------------------------------------------------------------ LSTM
// cell

void bind_lstm_pointwise(py::module_& m) {
  m.def(
      "lstm_pointwise",
      [](int sums_type, int state_type, int64_t B, int64_t K, Address sums, Address c,
         Address h_out, Address c_out, Address gates, Address stream) {
        LstmPointwise args{};
        args.sums_type = number(sums_type), args.state_type = number(state_type);
        args.batch = B, args.hidden = K;
        args.sums = pointer(sums), args.c = pointer(c);
        args.h_out = pointer(h_out), args.c_out = pointer(c_out);
        args.gates = pointer(gates);
        args.stream = pointer(stream);
        lstm_pointwise(args);
      },
      NoGil());
  m.def(
      "lstm_pointwise_backward",
      [](int sums_type, int state_type, int64_t B, int64_t K, Address gates, Address c,
         Address c_out, Address d_h_out, Address d_c_out, Address d_sums, Address d_c,
         Address stream) {
        LstmPointwise args{};
        args.sums_type = number(sums_type), args.state_type = number(state_type);
        args.batch = B, args.hidden = K;
        args.saved_gates = pointer(gates), args.c = pointer(c), args.saved_c = pointer(c_out);
        args.d_h_out = pointer(d_h_out), args.d_c_out = pointer(d_c_out);
        args.d_sums = pointer(d_sums), args.d_c = pointer(d_c);
        args.stream = pointer(stream);
        lstm_pointwise_backward(args);
      },
      NoGil());
}

// ---------------------------------------------------------------------------------------------
// device

void bind_device(py::module_& m) {
  m.def("device_limits", [] {
    const DeviceLimits limits = device_limits("device_limits");
    py::dict facts;
    facts["name"] = limits.name;
    facts["capability"] = limits.capability;
    facts["shared_bytes"] = limits.shared_bytes;
    facts["processors"] = limits.processors;
    return facts;
  });
#ifdef DRAWGAN_CUDA_EMULATION
  // What the emulation pretends to be, and in which order it runs threads.
  m.def(
      "emulate_device",
      [](int capability, std::size_t shared_bytes, int processors, int resident_blocks,
         int resident_clusters) {
        emulation::device = {capability, shared_bytes, processors, resident_blocks,
                             resident_clusters};
      },
      py::kw_only(), py::arg("capability") = emulation::Device{}.capability,
      py::arg("shared_bytes") = emulation::Device{}.shared_bytes,
      py::arg("processors") = emulation::Device{}.processors,
      py::arg("resident_blocks") = emulation::Device{}.resident_blocks,
      py::arg("resident_clusters") = emulation::Device{}.resident_clusters);
  m.def(
      "emulate_schedule",
      [](const std::string& name, unsigned seed) {
        using emulation::Schedule;
        if (name == "forward")
          emulation::options = {Schedule::forward, seed};
        else if (name == "reverse")
          emulation::options = {Schedule::reverse, seed};
        else if (name == "random")
          emulation::options = {Schedule::random, seed};
        else
          throw std::invalid_argument("there is no schedule '" + name + "'");
      },
      py::arg("name"), py::arg("seed") = 1);
#endif
}

}  // namespace

PYBIND11_MODULE(DRAWGAN_MODULE, m) {
  m.doc() = "Compiled CUDA core of drawgan_fast; private, see drawgan_fast.functional.";
  // Local: the emulation throws a class of the same name, and both may be loaded.
  py::register_local_exception<CudaError>(m, "CudaError", PyExc_RuntimeError);
#ifdef DRAWGAN_CUDA_EMULATION
  py::register_local_exception<emulation::KernelError>(m, "KernelError", PyExc_RuntimeError);
  m.attr("emulated") = true;
#else
  m.attr("emulated") = false;
#endif
  bind_window_map(m);
  bind_device(m);
  bind_lstm_pointwise(m);
  bind_attention(m);
  bind_draw(m);
}

}  // namespace drawgan::cuda
