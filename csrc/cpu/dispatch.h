// Which instruction set's kernels run. Compiled for the baseline: it runs on every CPU.
#pragma once

#include <string>
#include <vector>

#include "kernels.h"

namespace drawgan {

const Kernels& kernels_in_use();            // the best supported ones, until use_kernels()
std::vector<std::string> compiled_isas();   // in this build, best first
std::vector<std::string> supported_isas();  // those that this CPU has
void use_kernels(const std::string& isa);   // std::invalid_argument says why it cannot

}  // namespace drawgan
