#include "dispatch.h"

#include <atomic>
#include <initializer_list>
#include <stdexcept>

namespace drawgan {
namespace {

// What a set needs of the CPU, and of the operating system, which must save the wider registers.
// Each function returns the first feature that is missing, or null.
#define MISSING(feature) (__builtin_cpu_supports(feature) ? nullptr : feature)

const char* first_of(std::initializer_list<const char*> missing) {
  for (const char* feature : missing)
    if (feature) return feature;
  return nullptr;
}

[[maybe_unused]] const char* missing_for_portable() { return nullptr; }
#if defined(__x86_64__)
[[maybe_unused]] const char* missing_for_avx2() {
  return first_of({MISSING("avx2"), MISSING("fma")});
}
[[maybe_unused]] const char* missing_for_avx512() {
  return first_of({MISSING("avx512f"), MISSING("avx512bw"), MISSING("avx512vl"),
                   MISSING("avx512dq"), missing_for_avx2()});
}
[[maybe_unused]] const char* missing_for_avx512bf16() {
  return first_of({MISSING("avx512bf16"), missing_for_avx512()});
}
#endif

struct Candidate {
  const char* name;
  const Kernels* kernels;  // null: not compiled into this build
  const char* (*missing)();
};
#define COMPILED(isa) {#isa, &isa::kernels, missing_for_##isa}
#define NOT_COMPILED(isa) {#isa, nullptr, nullptr}

// Best first. The build defines a DRAWGAN_HAS_ for every set that it compiles.
constexpr Candidate kCandidates[] = {
#ifdef DRAWGAN_HAS_avx512bf16
    COMPILED(avx512bf16),
#else
    NOT_COMPILED(avx512bf16),
#endif
#ifdef DRAWGAN_HAS_avx512
    COMPILED(avx512),
#else
    NOT_COMPILED(avx512),
#endif
#ifdef DRAWGAN_HAS_avx2
    COMPILED(avx2),
#else
    NOT_COMPILED(avx2),
#endif
#ifdef DRAWGAN_HAS_portable
    COMPILED(portable),
#else
    NOT_COMPILED(portable),
#endif
};

std::string listed(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  return list.empty() ? "none" : list;
}

const Kernels* best_supported() {
  for (const Candidate& candidate : kCandidates)
    if (candidate.kernels && !candidate.missing()) return candidate.kernels;
  throw std::invalid_argument("this CPU has none of the compiled instruction sets: " +
                              listed(compiled_isas()));
}

std::atomic<const Kernels*>& in_use() {
  static std::atomic<const Kernels*> kernels{best_supported()};
  return kernels;
}

}  // namespace

const Kernels& kernels_in_use() { return *in_use().load(std::memory_order_relaxed); }

std::vector<std::string> compiled_isas() {
  std::vector<std::string> names;
  for (const Candidate& candidate : kCandidates)
    if (candidate.kernels) names.push_back(candidate.name);
  return names;
}

std::vector<std::string> supported_isas() {
  std::vector<std::string> names;
  for (const Candidate& candidate : kCandidates)
    if (candidate.kernels && !candidate.missing()) names.push_back(candidate.name);
  return names;
}

void use_kernels(const std::string& isa) {
  for (const Candidate& candidate : kCandidates) {
    if (isa != candidate.name) continue;
    if (!candidate.kernels)
      throw std::invalid_argument("the instruction set " + isa +
                                  " is not compiled into this build; compiled are " +
                                  listed(compiled_isas()));
    if (const char* feature = candidate.missing())
      throw std::invalid_argument("the instruction set " + isa + " cannot run: this CPU has no " +
                                  feature);
    in_use().store(candidate.kernels, std::memory_order_relaxed);
    return;
  }
  throw std::invalid_argument("there is no instruction set '" + isa + "'; supported here are " +
                              listed(supported_isas()));
}

}  // namespace drawgan
