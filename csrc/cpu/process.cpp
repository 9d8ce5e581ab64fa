#include "process.h"

#include <atomic>
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace drawgan {
namespace {

std::atomic<bool> forked{false};

#if defined(__unix__) || defined(__APPLE__)
[[maybe_unused]] const int registered =
    pthread_atfork(nullptr, nullptr, [] { forked.store(true, std::memory_order_relaxed); });
#endif

}  // namespace

bool in_forked_child() noexcept { return forked.load(std::memory_order_relaxed); }

}  // namespace drawgan
