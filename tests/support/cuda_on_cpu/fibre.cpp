#include "fibre.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <new>

// This file and its neighbours are compiled without the sanitizers' instrumentation, and told which
// of them the kernels have.
#ifdef DRAWGAN_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef DRAWGAN_TSAN
#include <sanitizer/tsan_interface.h>
#endif

#ifdef DRAWGAN_OWN_SWITCH
extern "C" void drawgan_switch_stacks(void** save, void* load);
// Saves what a called function must keep, changes stacks, and returns on the other one.
asm(R"(
.pushsection .text
.globl drawgan_switch_stacks
.hidden drawgan_switch_stacks
.type drawgan_switch_stacks, @function
drawgan_switch_stacks:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size drawgan_switch_stacks, . - drawgan_switch_stacks
.popsection
)");
#endif

namespace drawgan::emulation {
namespace {

#if defined(DRAWGAN_ASAN) || defined(DRAWGAN_TSAN)
constexpr std::size_t kStackBytes = 512 << 10;
#else
constexpr std::size_t kStackBytes = 256 << 10;
#endif

#ifdef DRAWGAN_ASAN
Fibre* left = nullptr;  // whose stack's bounds are still to be noted, by where it went
#endif

}  // namespace

Fibre::Fibre() { adopt_caller(); }

Fibre::Fibre(void (*main)(), unsigned colour) : main_(main) {
  const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* mapped = mmap(nullptr, kStackBytes + page, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  mapping_ = static_cast<std::byte*>(mapped);
  mprotect(mapping_, page, PROT_NONE);  // a stack that is too small faults
  bottom_ = mapping_ + page;
  size_ = kStackBytes - colour % 61 * 1088;
#ifdef DRAWGAN_TSAN
  tsan_ = __tsan_create_fiber(0);
#endif
  prepare();
}

Fibre::~Fibre() {
  if (mapping_ == nullptr) return;
#ifdef DRAWGAN_TSAN
  __tsan_destroy_fiber(tsan_);
#endif
  munmap(mapping_, static_cast<std::size_t>(bottom_ - mapping_) + kStackBytes);
}

void Fibre::adopt_caller() {
#ifdef DRAWGAN_TSAN
  tsan_ = __tsan_get_current_fiber();
#endif
}

void Fibre::abandon(void (*last)()) {
#ifdef DRAWGAN_TSAN
  void* self = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(tsan_, __tsan_switch_to_fiber_no_sync);
  last();
  __tsan_switch_to_fiber(self, __tsan_switch_to_fiber_no_sync);
  __tsan_destroy_fiber(tsan_);
  tsan_ = __tsan_create_fiber(0);
#else
  last();
#endif
  asan_stack_ = nullptr;
  prepare();
}

void Fibre::prepare() {
#ifdef DRAWGAN_OWN_SWITCH
  auto top = reinterpret_cast<std::uintptr_t>(bottom_ + size_) & ~std::uintptr_t{15};
  void** frame = reinterpret_cast<void**>(top) - 8;
  for (int saved = 0; saved < 6; saved++) frame[saved] = nullptr;
  frame[6] = reinterpret_cast<void*>(main_);  // where the switch returns to
  frame[7] = nullptr;                         // where main would
  stack_pointer_ = frame;
#else
  getcontext(&context_);
  context_.uc_stack.ss_sp = bottom_;
  context_.uc_stack.ss_size = size_;
  context_.uc_link = nullptr;
  makecontext(&context_, main_, 0);
#endif
}

void Fibre::started() {
#ifdef DRAWGAN_ASAN
  const void* bottom = nullptr;
  std::size_t size = 0;
  __sanitizer_finish_switch_fiber(asan_stack_, &bottom, &size);
  if (left != nullptr && left->mapping_ == nullptr) {  // the stack that the system gave
    left->bottom_ = static_cast<std::byte*>(const_cast<void*>(bottom));
    left->size_ = size;
  }
#endif
}

void Fibre::switch_to(Fibre& next) {
#ifdef DRAWGAN_ASAN
  left = this;
  __sanitizer_start_switch_fiber(&asan_stack_, next.bottom_, next.size_);
#endif
#ifdef DRAWGAN_TSAN
  __tsan_switch_to_fiber(next.tsan_, __tsan_switch_to_fiber_no_sync);
#endif
#ifdef DRAWGAN_OWN_SWITCH
  drawgan_switch_stacks(&stack_pointer_, next.stack_pointer_);
#else
  swapcontext(&context_, &next.context_);
#endif
  started();
}

}  // namespace drawgan::emulation
