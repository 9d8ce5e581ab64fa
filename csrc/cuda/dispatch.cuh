// From values at run time to template arguments.
#pragma once

#include <stdexcept>
#include <type_traits>

#include "operators.h"
#include "vectors.cuh"

namespace drawgan::cuda {

template <class T>
struct TypeOf {
  using type = T;
};

template <class Run>
void by_type(Number type, const Run& run) {
  switch (type) {
    case Number::float32:
      return run(TypeOf<float>{});
    case Number::bfloat16:
      return run(TypeOf<bf16>{});
    case Number::float16:
      return run(TypeOf<fp16>{});
  }
  throw std::invalid_argument("there is no such type");
}

// Pixels per access: 16 bytes where every row of every image starts at a multiple of them, or one.
template <class T, class Run, class... Images>
void by_width(int W, const Run& run, const Images*... images) {
  constexpr int wide = kAccessBytes / static_cast<int>(sizeof(T));
  if ((in_packs<wide>(static_cast<const T*>(images), W) && ...))
    return run(std::integral_constant<int, wide>{});
  run(std::integral_constant<int, 1>{});
}

template <class Run>
void by_second(Second second, const Run& run) {
  switch (second) {
    case Second::none:
      return run(std::integral_constant<Second, Second::none>{});
    case Second::image:
      return run(std::integral_constant<Second, Second::image>{});
    case Second::canvas:
      return run(std::integral_constant<Second, Second::canvas>{});
  }
  throw std::invalid_argument("there is no such second image");
}

}  // namespace drawgan::cuda
