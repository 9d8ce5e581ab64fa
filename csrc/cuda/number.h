// How numbers lie in memory. Arithmetic is in float whatever they are.
#pragma once

#include <stdexcept>
#include <string>

namespace drawgan::cuda {

enum class Number : int { float32, bfloat16, float16 };

inline Number number(int code) {
  if (code < 0 || code > 2)
    throw std::invalid_argument(
        "a type of number is 0 (float32), 1 (bfloat16) or 2 (float16), got " +
        std::to_string(code));
  return static_cast<Number>(code);
}

}  // namespace drawgan::cuda
