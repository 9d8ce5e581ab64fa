// Barriers of a block, a cluster and a grid, counters in global memory, and asynchronous copies.
#include "threads.h"

namespace drawgan::emulation {
namespace {

// The last to arrive opens the next phase and says so; it wakes the others itself.
bool completes(Barrier& barrier) {
  if (++barrier.arrived < barrier.expected) return false;
  barrier.arrived = 0;
  barrier.phase++;
  barrier.counted = barrier.votes;
  barrier.votes = 0;
  return true;
}

template <class Blocks>
void wake_all(const Blocks& blocks, Wait waiting_for) {
  const bool reverse = options.schedule == Schedule::reverse;
  for (std::size_t at = 0; at < blocks.size(); at++) {
    Block& block = *blocks[reverse ? at : blocks.size() - 1 - at];
    wake(block.threads.data(), block.barrier.expected, waiting_for);
  }
}

}  // namespace

unsigned block_barrier_count(bool vote) {
  Barrier& barrier = running->block->barrier;
  const unsigned phase = barrier.phase;
  barrier.keys.release(phase);
  barrier.votes += vote;
  unsigned counted;
  if (completes(barrier)) {
    counted = barrier.counted;
    wake(running->block->threads.data(), barrier.expected, Wait::block);
    run_on();
  } else {
    suspend(Wait::block);
    counted = barrier.counted;
  }
  barrier.keys.acquire(phase);
  return counted;
}

void block_barrier() { block_barrier_count(false); }

void cluster_arrive() {
  Thread& thread = *running;
  Cluster& cluster = *thread.block->cluster;
  if (thread.arrived) fail("arrives at the cluster's barrier twice without waiting");
  thread.arrived = true;
  thread.cluster_phase = cluster.barrier.phase;
  cluster.barrier.keys.release(thread.cluster_phase);
  if (completes(cluster.barrier)) {
    wake_all(cluster.blocks, Wait::cluster);
    run_on();
  }
}

void cluster_wait() {
  Thread& thread = *running;
  Barrier& barrier = thread.block->cluster->barrier;
  if (!thread.arrived) fail("waits at the cluster's barrier without having arrived");
  if (barrier.phase == thread.cluster_phase) suspend(Wait::cluster);
  thread.arrived = false;
  barrier.keys.acquire(thread.cluster_phase);
}

void grid_barrier() {
  if (!grid->shape.cooperative) fail("a barrier of the grid in a launch that is not cooperative");
  Barrier& barrier = grid->barrier;
  const unsigned phase = barrier.phase;
  barrier.keys.release(phase);
  if (completes(barrier)) {
    const bool reverse = options.schedule == Schedule::reverse;
    for (std::size_t at = 0; at < grid->clusters.size(); at++)
      wake_all(grid->clusters[reverse ? at : grid->clusters.size() - 1 - at]->blocks, Wait::grid);
    run_on();
  } else {
    suspend(Wait::grid);
  }
  barrier.keys.acquire(phase);
}

// --------------------------------------------------------------------------------------------
// counters

namespace {

Counter& counter_at(const unsigned* address) {
  for (Counter& counter : grid->counters)
    if (counter.address == address) return counter;
  grid->counters.push_back({address, 0, {}});
  return grid->counters.back();
}

}  // namespace

unsigned add_release(unsigned* address, unsigned value) {
  Counter& counter = counter_at(address);
  counter.keys.release(counter.phase);
  const unsigned before = __atomic_fetch_add(address, value, __ATOMIC_ACQ_REL);
  bool woken = false;
  std::erase_if(grid->at_counters, [&](Thread* thread) {
    if (thread->counter != address || before + value < thread->target) return false;
    thread->counter_phase = counter.phase;
    wake(thread, 1, Wait::counter);
    woken = true;
    return true;
  });
  if (woken) counter.phase++;  // what is released from now on they do not learn of
  return before;
}

void wait_at_least(const unsigned* address, unsigned value) {
  Counter& counter = counter_at(address);
  if (__atomic_load_n(address, __ATOMIC_ACQUIRE) >= value) {
    counter.keys.acquire(counter.phase);
    counter.keys.acquire(counter.phase + 1);
    return;
  }
  Thread& thread = *running;
  thread.counter = address;
  thread.target = value;
  grid->at_counters.push_back(&thread);
  suspend(Wait::counter);
  counter.keys.acquire(thread.counter_phase);
}

// --------------------------------------------------------------------------------- asynchronous
// copies

void copy_async(void* shared, const void* global) {
  if ((reinterpret_cast<std::uintptr_t>(shared) | reinterpret_cast<std::uintptr_t>(global)) % 16)
    fail("an asynchronous copy of 16 bytes at an address that is not a multiple of 16");
  running->copies.push_back({shared, global, running->copy_group});
}

void copy_async_commit() { running->copy_group++; }

bool copy_async_due(unsigned pending, AsyncCopy* copy) {
  std::vector<AsyncCopy>& copies = running->copies;
  if (copies.empty() || copies.front().group + pending >= running->copy_group) return false;
  *copy = copies.front();
  copies.erase(copies.begin());
  return true;
}

}  // namespace drawgan::emulation
