// What each file of bindings adds to the module.
#pragma once

#include "../python_types.h"
#include "platform.h"

namespace drawgan::cuda {

void bind_attention(py::module_& m);
void bind_draw(py::module_& m);

template <class T>
T* as(Address address) {
  return static_cast<T*>(pointer(address));
}

// The number that torch gives.
inline cudaStream_t as_stream(Address stream) { return static_cast<cudaStream_t>(pointer(stream)); }

}  // namespace drawgan::cuda
