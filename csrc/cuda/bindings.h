// What each file of bindings adds to the module.
#pragma once

#include "../python_types.h"

namespace drawgan::cuda {

void bind_attention(py::module_& m);
void bind_draw(py::module_& m);

}  // namespace drawgan::cuda
