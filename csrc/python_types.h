// What the Python modules of the cores share: addresses, and the window that both take. Each module
// binds a class of its own (module_local), so that they can be loaded together.
#pragma once

#include <pybind11/gil_simple.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "window_map.h"

namespace py = pybind11;

namespace drawgan {

using Address = std::uintptr_t;  // 0 is a null pointer
using NoGil = py::call_guard<py::gil_scoped_release_simple>;

inline void* pointer(Address address) { return reinterpret_cast<void*>(address); }

inline constexpr const char* kNormalisations[] = {"softmax", "add", "max", "each", "total", "none"};

inline std::string normalisation_name(const WindowMap& map) {
  return kNormalisations[static_cast<int>(map.normalisation)];
}

inline void set_normalisation(WindowMap& map, const std::string& name) {
  int number = 0;
  for (const char* known : kNormalisations) {
    if (name == known) {
      map.normalisation = static_cast<Normalisation>(number);
      return;
    }
    number++;
  }
  throw std::invalid_argument("there is no normalisation '" + name + "'");
}

// T(field=value, ...): the fields that are not named keep their defaults.
template <class T>
T from_fields(const py::kwargs& fields) {
  py::object made = py::cast(T{});
  for (const auto& [name, value] : fields) py::setattr(made, name, value);
  return made.cast<T>();
}

inline void bind_window_map(py::module_& m) {
  py::class_<WindowMap>(m, "WindowMap", py::module_local())
      .def(py::init(&from_fields<WindowMap>))
      .def_readwrite("x", &WindowMap::x)
      .def_readwrite("y", &WindowMap::y)
      .def_readwrite("sigma", &WindowMap::sigma)
      .def_readwrite("delta", &WindowMap::delta)
      .def_readwrite("gamma", &WindowMap::gamma)
      .def_readwrite("extent_x", &WindowMap::extent_x)
      .def_readwrite("extent_y", &WindowMap::extent_y)
      .def_readwrite("origin", &WindowMap::origin)
      .def_readwrite("to_middle", &WindowMap::to_middle)
      .def_readwrite("delta_scale", &WindowMap::delta_scale)
      .def_readwrite("sigma_scale", &WindowMap::sigma_scale)
      .def_readwrite("sigma_bias", &WindowMap::sigma_bias)
      .def_readwrite("log_sigma2_low", &WindowMap::log_sigma2_low)
      .def_readwrite("log_sigma2_high", &WindowMap::log_sigma2_high)
      .def_readwrite("max_centre", &WindowMap::max_centre)
      .def_readwrite("max_log_delta", &WindowMap::max_log_delta)
      .def_readwrite("max_log_gamma", &WindowMap::max_log_gamma)
      .def_readwrite("eps", &WindowMap::eps)
      .def_readwrite("intensity_sign", &WindowMap::intensity_sign)
      .def_readwrite("gamma_power", &WindowMap::gamma_power)
      .def_property("normalisation", &normalisation_name, &set_normalisation)
      .def_readwrite("centre_tanh", &WindowMap::centre_tanh)
      .def_readwrite("gamma_sigmoid", &WindowMap::gamma_sigmoid)
      .def_readwrite("swap_centres", &WindowMap::swap_centres)
      .def_readwrite("transposed", &WindowMap::transposed);
}

}  // namespace drawgan
