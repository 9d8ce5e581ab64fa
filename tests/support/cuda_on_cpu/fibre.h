// A stack of its own and a place to go on from: one per emulated CUDA thread. Switching costs a few
// nanoseconds (x86-64; elsewhere what swapcontext costs) and is announced to AddressSanitizer and
// ThreadSanitizer, for which every fibre is a thread. A switch orders nothing between two fibres.
#pragma once

#include <cstddef>

#if defined(__x86_64__) && !defined(DRAWGAN_UCONTEXT)
#define DRAWGAN_OWN_SWITCH 1
#else
#include <ucontext.h>
#endif

namespace drawgan::emulation {

class Fibre {
 public:
  // The thread that asks is a fibre too, with the stack that it has.
  Fibre();
  // Runs `main` when first switched to; it must never return. `colour` shifts the stack's top, so
  // that those of many fibres do not fall into the same few sets of the cache.
  Fibre(void (*main)(), unsigned colour);
  ~Fibre();
  Fibre(const Fibre&) = delete;
  Fibre& operator=(const Fibre&) = delete;

  // Leaves this fibre, which is the running one, for another.
  void switch_to(Fibre& next);
  // First thing in `main`.
  void started();
  // Whatever it was at is forgotten: it starts anew. `last` is called in its name.
  void abandon(void (*last)());
  // ThreadSanitizer's name for the thread that asks changes from launch to launch.
  void adopt_caller();

 private:
  void prepare();

  void (*main_)() = nullptr;
  std::byte* mapping_ = nullptr;
  std::size_t size_ = 0;  // of the usable stack
  std::byte* bottom_ = nullptr;
  void* tsan_ = nullptr;
  void* asan_stack_ = nullptr;
#ifdef DRAWGAN_OWN_SWITCH
  void* stack_pointer_ = nullptr;
#else
  ucontext_t context_;
#endif
};

}  // namespace drawgan::emulation
