#include "workspace.h"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <mutex>
#include <new>
#include <string>
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define DRAWGAN_ASAN
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(DRAWGAN_ASAN)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size)
#define ASAN_UNPOISON_MEMORY_REGION(address, size)
#endif

namespace drawgan {
namespace {

constexpr int64_t kAlignment = 64;
constexpr int kSteps = 8;  // sizes of blocks from one power of two to the next

// Stands in front of every block, and keeps the block aligned.
struct alignas(kAlignment) Header {
  int64_t capacity;       // bytes of the block, the header not counted
  uint64_t given_back;    // when, counted in calls
  Header *newer, *older;  // the kept blocks of one capacity
};

void* block_of(Header* header) { return header + 1; }
Header* header_of(void* block) { return static_cast<Header*>(block) - 1; }

class OutOfMemory : public std::bad_alloc {
 public:
  explicit OutOfMemory(int64_t bytes)
      : message_("cannot allocate a workspace of " + std::to_string(bytes) + " bytes") {}
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string message_;
};

int exponent_of(int64_t bytes) { return 63 - __builtin_clzll(static_cast<uint64_t>(bytes)); }

// Few distinct capacities, so that the sizes that a training step asks for meet again: multiples of
// a cache line, eight to a doubling. Pages of the rest that nobody touches cost nothing.
int64_t capacity_for(int64_t bytes) {
  if (bytes <= kAlignment) return kAlignment;
  const int64_t eighth = (int64_t{1} << exponent_of(bytes)) / kSteps;
  const int64_t unit = eighth > kAlignment ? eighth : kAlignment;
  return (bytes + unit - 1) / unit * unit;
}

// Capacities in increasing order; those below 512 bytes leave gaps.
int shelf_of(int64_t capacity) {
  const int exponent = exponent_of(capacity);
  return (exponent - exponent_of(kAlignment)) * kSteps +
         static_cast<int>(capacity >> (exponent - 3)) % kSteps;
}
constexpr int kShelves = (62 - 6 + 1) * kSteps;

// What the process needed at once, lately: the most that was lent at a time during the last few
// thousand calls, so that a single large evaluation does not hold its memory for ever.
class RecentPeak {
 public:
  void note(int64_t in_use) {
    if (++calls_ % kWindow == 0) {
      previous_ = current_;
      current_ = 0;
    }
    if (in_use > current_) current_ = in_use;
  }
  int64_t bytes() const { return current_ > previous_ ? current_ : previous_; }

 private:
  static constexpr uint64_t kWindow = 2048;
  uint64_t calls_ = 0;
  int64_t current_ = 0, previous_ = 0;
};

class Pool {
 public:
  void* take(int64_t bytes) {
    // Larger requests would overflow the sums below; the system could not serve them either.
    if (bytes < 0 || bytes > std::numeric_limits<int64_t>::max() / 4) throw OutOfMemory(bytes);
    const int64_t capacity = capacity_for(bytes);
    Header* header = take_kept(capacity);
    if (!header) header = allocate(capacity, bytes);
    char* block = static_cast<char*>(block_of(header));
    if (poison_.load(std::memory_order_relaxed))
      std::memset(block, 0xFF, static_cast<size_t>(header->capacity));
    // Under AddressSanitizer a block begins and ends where its user's part of it does.
    ASAN_POISON_MEMORY_REGION(block + bytes, static_cast<size_t>(header->capacity - bytes));
    ASAN_POISON_MEMORY_REGION(header, sizeof(Header));
    return block;
  }

  void give_back(void* block) noexcept {
    if (!block) return;
    Header* header = header_of(block);
    ASAN_UNPOISON_MEMORY_REGION(header, sizeof(Header));
    ASAN_POISON_MEMORY_REGION(block, static_cast<size_t>(header->capacity));
    Header* surplus = nullptr;
    {
      const std::lock_guard lock(mutex_);
      in_use_ -= header->capacity;
      keep(header);
      surplus = unkeep_surplus();
    }
    release(surplus);
  }

  PoolInfo info() {
    const std::lock_guard lock(mutex_);
    return {in_use_, kept_};
  }

  // A fresh start: what was needed before this is forgotten too.
  void release_all() noexcept {
    Header* all = nullptr;
    {
      const std::lock_guard lock(mutex_);
      all = unkeep_down_to(0);
      peak_ = RecentPeak();
      peak_.note(in_use_);
    }
    release(all);
  }

  void poison(bool on) { poison_.store(on, std::memory_order_relaxed); }
  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }

 private:
  struct Shelf {
    Header *newest = nullptr, *oldest = nullptr;
  };

  // The smallest kept block that is large enough and not more than twice as large as that, or null.
  Header* take_kept(int64_t capacity) {
    const std::lock_guard lock(mutex_);
    if (kept_ < capacity) return nullptr;
    const int first = shelf_of(capacity);
    for (int shelf = first; shelf <= first + kSteps && shelf < kShelves; shelf++)
      if (Header* header = shelves_[shelf].newest) {
        unkeep(header);
        lend(header->capacity);
        ASAN_UNPOISON_MEMORY_REGION(block_of(header), static_cast<size_t>(header->capacity));
        return header;
      }
    return nullptr;
  }

  // A block from the system.
  Header* allocate(int64_t capacity, int64_t asked) {
    const size_t bytes = sizeof(Header) + static_cast<size_t>(capacity);
    void* memory = std::aligned_alloc(kAlignment, bytes);
    if (!memory) {
      release_all();
      memory = std::aligned_alloc(kAlignment, bytes);
    }
    if (!memory) throw OutOfMemory(asked);
    Header* surplus = nullptr;
    {
      const std::lock_guard lock(mutex_);
      lend(capacity);
      surplus = unkeep_surplus();
    }
    release(surplus);
    return new (memory) Header{capacity, 0, nullptr, nullptr};
  }

  void lend(int64_t capacity) {
    in_use_ += capacity;
    peak_.note(in_use_);
  }

  void keep(Header* header) {
    Shelf& shelf = shelves_[shelf_of(header->capacity)];
    header->given_back = ++clock_;
    header->newer = nullptr;
    header->older = shelf.newest;
    (shelf.newest ? shelf.newest->newer : shelf.oldest) = header;
    shelf.newest = header;
    kept_ += header->capacity;
  }

  void unkeep(Header* header) {
    Shelf& shelf = shelves_[shelf_of(header->capacity)];
    (header->newer ? header->newer->older : shelf.newest) = header->older;
    (header->older ? header->older->newer : shelf.oldest) = header->newer;
    kept_ -= header->capacity;
  }

  // All that is held, lent and kept, is at most twice what was needed at once: the blocks of phases
  // that never overlap (forward, backward, an evaluation between) may then all be kept.
  Header* unkeep_surplus() { return unkeep_down_to(2 * peak_.bytes() - in_use_); }

  // Takes the blocks that were given back the longest time ago off their shelves until no more than
  // `most` bytes are kept; a list to be released without the lock.
  Header* unkeep_down_to(int64_t most) {
    Header* list = nullptr;
    while (kept_ > 0 && kept_ > most) {
      Header* oldest = nullptr;
      for (const Shelf& shelf : shelves_)
        if (shelf.oldest && (!oldest || shelf.oldest->given_back < oldest->given_back))
          oldest = shelf.oldest;
      unkeep(oldest);
      oldest->older = list;
      list = oldest;
    }
    return list;
  }

  static void release(Header* list) noexcept {
    while (list) {
      Header* next = list->older;
      ASAN_UNPOISON_MEMORY_REGION(block_of(list), static_cast<size_t>(list->capacity));
      std::free(list);
      list = next;
    }
  }

  std::mutex mutex_;
  std::atomic<bool> poison_{false};
  Shelf shelves_[kShelves];
  RecentPeak peak_;
  uint64_t clock_ = 0;
  int64_t in_use_ = 0, kept_ = 0;
};

// Never destroyed: a tensor may give its block back while the process is already leaving.
Pool& pool() {
  static Pool* const only = [] {
    Pool* made = new Pool;
#if defined(__unix__) || defined(__APPLE__)
    // A thread that holds the mutex does not exist in a forked child, and could never unlock it.
    pthread_atfork([] { pool().lock(); }, [] { pool().unlock(); }, [] { pool().unlock(); });
#endif
    return made;
  }();
  return *only;
}

}  // namespace

void* pool_take(int64_t bytes) { return pool().take(bytes); }
void pool_give_back(void* block) noexcept { pool().give_back(block); }
PoolInfo pool_info() { return pool().info(); }
void pool_release() { pool().release_all(); }
void pool_poison(bool on) { pool().poison(on); }

}  // namespace drawgan
