// What the scheduler knows of a running kernel. Private to this folder's .cpp files.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "fibre.h"
#include "scheduler.h"

namespace drawgan::emulation {

enum class Wait : std::uint8_t { none, warp, block, cluster, grid, counter, ended };

// ThreadSanitizer's view of a barrier: who arrives releases, who leaves acquires. One key for even
// and one for odd phases, so that a thread that leaves late learns nothing of the phase after.
struct Keys {
  std::uint64_t key[2] = {};
  void release(unsigned phase);
  void acquire(unsigned phase);
};

struct Barrier {
  unsigned expected = 0, arrived = 0, phase = 0;
  unsigned votes = 0, counted = 0;  // of this phase so far, of the last one
  Keys keys;
};

struct Block;

// What a lane brings to an operation of its warp, and takes away.
struct Lane {
  std::uint64_t value = 0;
  unsigned source = 0;
  std::uint32_t a[4] = {}, b[2] = {};
  float d[4] = {};
};

struct Warp;
using Operation = void (*)(Warp&, unsigned lanes);

struct Thread {
  Place place{};
  Block* block = nullptr;
  Warp* warp = nullptr;
  unsigned lane = 0;
  Fibre* fibre = nullptr;
  Wait wait = Wait::none;
  bool arrived = false;  // at the cluster's barrier, without having left it
  unsigned cluster_phase = 0;
  const unsigned* counter = nullptr;  // waits for it to reach the target
  unsigned target = 0, counter_phase = 0;
  unsigned copy_group = 0;
  std::vector<AsyncCopy> copies;
};

struct Warp {
  Thread* threads = nullptr;  // its first
  unsigned existing = 0;      // lanes that there are
  unsigned waiting = 0;       // lanes that wait for others
  unsigned mask[32] = {};     // whom for
  Operation operation[32] = {};
  unsigned phase[32] = {};  // of the groups whose lowest lane it is
  Keys keys[32];
  Lane lanes[32];
};

struct Cluster;

struct Block {
  Cluster* cluster = nullptr;
  unsigned rank = 0;  // in the cluster
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  unsigned char* shared = nullptr;
  Barrier barrier;
  unsigned ended = 0;
};

struct Cluster {
  std::vector<std::unique_ptr<Block>> blocks;
  Barrier barrier;
  unsigned ended = 0;  // blocks
};

struct Counter {
  const unsigned* address;
  unsigned phase = 0;
  Keys keys;
};

// A launch.
struct Grid {
  const char* name = "";
  GridShape shape;
  void (*body)(void*) = nullptr;
  void* context = nullptr;
  std::vector<std::unique_ptr<Cluster>> clusters;  // admitted and not forgotten
  unsigned admitted = 0, ended = 0;                // clusters
  unsigned live = 0;                               // threads of those that are not forgotten
  Barrier barrier;
  std::deque<Counter> counters;
  std::vector<Thread*> at_counters;
  std::vector<Thread*> ready;  // the last one runs next
  std::minstd_rand random;
  std::string error;
  Keys start, end;
};

extern Grid* grid;  // that runs
extern Thread* running;

std::string name_of(const Block& block);
[[noreturn]] void fail(const std::string& what);  // ends the launch with a KernelError
void suspend(Wait wait);
// Threads of a list become ready, before all that are. The running one stays as it is.
void wake(Thread* threads, unsigned count, Wait waiting_for);
void run_on();  // after waking others: in a random schedule, perhaps not at once

}  // namespace drawgan::emulation
