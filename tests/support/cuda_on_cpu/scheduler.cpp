#include "scheduler.h"

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <utility>

#include "threads.h"

#ifdef DRAWGAN_TSAN
#include <sanitizer/tsan_interface.h>
#endif

namespace drawgan::emulation {

Device device;
Options options;
const Place* here = nullptr;
Grid* grid = nullptr;
Thread* running = nullptr;

void Keys::release([[maybe_unused]] unsigned phase) {
#ifdef DRAWGAN_TSAN
  __tsan_release(&key[phase & 1]);
#endif
}

void Keys::acquire([[maybe_unused]] unsigned phase) {
#ifdef DRAWGAN_TSAN
  __tsan_acquire(&key[phase & 1]);
#endif
}

namespace {

std::mutex one_at_a_time;
std::unique_ptr<Fibre> caller;  // where the scheduler itself runs

// -------------------------------------------------------------------------------------------
// fibres

std::vector<std::unique_ptr<Fibre>> all_fibres;
std::deque<Fibre*> free_fibres;
#ifdef DRAWGAN_TSAN
// Two blocks on one fibre look like one thread, and one that is admitted after another was
// forgotten seems to know what that did. So both are put off.
constexpr std::size_t kFibresBeforeReuse = 2048, kThreadsBeforeForgetting = 2048;
#else
constexpr std::size_t kFibresBeforeReuse = 0, kThreadsBeforeForgetting = 0;
#endif

void leave() {
  Fibre* from = running != nullptr ? running->fibre : caller.get();
  Fibre* to = caller.get();
  running = nullptr;
  if (!grid->ready.empty() && grid->error.empty()) {
    std::vector<Thread*>& ready = grid->ready;
    if (options.schedule == Schedule::random && grid->random() % 4 == 0)
      std::swap(ready[grid->random() % ready.size()], ready.back());
    running = ready.back();
    ready.pop_back();
    here = &running->place;
    to = running->fibre;
  }
  if (to != from) from->switch_to(*to);
}

void end_thread() {
  grid->end.release(0);
  running->wait = Wait::ended;
  Block& block = *running->block;
  if (++block.ended < block.threads.size()) return;
  // Nobody may look into its shared memory any more.
#if defined(DRAWGAN_ASAN) || defined(DRAWGAN_TSAN)
  grid->end.acquire(0);
  std::free(std::exchange(block.shared, nullptr));
#else
  std::memset(block.shared, 0xff, grid->shape.shared_bytes);
#endif
  if (++block.cluster->ended == block.cluster->blocks.size()) grid->ended++;
}

void fibre_main() {
  running->fibre->started();
  for (;;) {
    grid->start.acquire(0);
    grid->body(grid->context);
    end_thread();
    leave();
  }
}

Fibre* take_fibre() {
  if (free_fibres.empty() || all_fibres.size() < kFibresBeforeReuse) {
    const auto colour = static_cast<unsigned>(all_fibres.size());
    all_fibres.push_back(std::make_unique<Fibre>(fibre_main, colour));
    return all_fibres.back().get();
  }
  Fibre* fibre = free_fibres.front();
  free_fibres.pop_front();
  return fibre;
}

// ------------------------------------------------------------------------- clusters come and go

void make_threads(Block& block, uint3 index) {
  const dim3 size = grid->shape.block;
  const unsigned count = size.x * size.y * size.z;
  block.threads.resize(count);
  block.warps.resize((count + 31) / 32);
  for (unsigned number = 0; number < count; number++) {
    Thread& thread = block.threads[number];
    Warp& warp = block.warps[number / 32];
    thread.place.thread = {number % size.x, number / size.x % size.y, number / (size.x * size.y)};
    thread.place.block = index;
    thread.place.block_dim = size;
    thread.place.grid_dim = grid->shape.grid;
    thread.block = &block;
    thread.warp = &warp;
    thread.lane = number % 32;
    thread.fibre = take_fibre();
    if (number % 32 == 0) warp.threads = &thread;
    warp.existing |= 1u << thread.lane;
  }
  block.barrier.expected = count;
}

// Shared memory full of NaN: a number that was never written shows.
unsigned char* make_shared(std::size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, 128, bytes == 0 ? 1 : bytes) != 0) throw std::bad_alloc();
  std::memset(memory, 0xff, bytes);
  return static_cast<unsigned char*>(memory);
}

unsigned clusters_of(const GridShape& shape) {
  return shape.grid.x / shape.cluster * shape.grid.y * shape.grid.z;
}

void admit_cluster() {
  const dim3 size = grid->shape.grid;
  const unsigned width = size.x / grid->shape.cluster;
  unsigned number = grid->admitted++;
  if (options.schedule == Schedule::reverse) number = clusters_of(grid->shape) - 1 - number;
  auto cluster = std::make_unique<Cluster>();
  for (unsigned rank = 0; rank < grid->shape.cluster; rank++) {
    auto block = std::make_unique<Block>();
    block->cluster = cluster.get();
    block->rank = rank;
    block->shared = make_shared(grid->shape.shared_bytes);
    make_threads(*block, {number % width * grid->shape.cluster + rank, number / width % size.y,
                          number / (width * size.y)});
    cluster->barrier.expected += block->barrier.expected;
    cluster->blocks.push_back(std::move(block));
  }
  grid->start.release(0);
  grid->live += cluster->barrier.expected;
  grid->ready.reserve(grid->live);  // never grows while threads run: a sanitizer would see it move
  grid->at_counters.reserve(grid->live);
  for (const auto& block : cluster->blocks)
    wake(block->threads.data(), block->barrier.expected, Wait::none);
  grid->clusters.push_back(std::move(cluster));
}

void forget(Cluster& cluster) {
  for (const auto& block : cluster.blocks)
    for (Thread& thread : block->threads) {
      if (thread.wait != Wait::ended) thread.fibre->abandon([] { grid->end.release(0); });
      free_fibres.push_back(thread.fibre);
    }
  grid->end.acquire(0);
  for (const auto& block : cluster.blocks) {
    std::free(block->shared);
    grid->live -= block->barrier.expected;
  }
}

void forget_ended() {
  std::erase_if(grid->clusters, [](const std::unique_ptr<Cluster>& cluster) {
    const bool over = cluster->ended == cluster->blocks.size();
    if (over) forget(*cluster);
    return over;
  });
}

std::string what_hangs() {
  constexpr const char* kPlaces[] = {"can run",
                                     "wait for other lanes of their warp",
                                     "wait at __syncthreads",
                                     "wait at the cluster's barrier",
                                     "wait at the grid's barrier",
                                     "wait for a counter",
                                     "have ended"};
  for (const auto& cluster : grid->clusters)
    for (const auto& block : cluster->blocks) {
      if (block->ended == block->threads.size()) continue;
      unsigned count[std::size(kPlaces)] = {};
      for (const Thread& thread : block->threads) count[static_cast<int>(thread.wait)]++;
      std::string says = "hangs: in " + name_of(*block);
      const char* separator = " ";
      for (std::size_t place = 0; place < std::size(kPlaces); place++) {
        if (count[place] == 0) continue;
        says += separator + std::to_string(count[place]) + " threads " + kPlaces[place];
        separator = ", ";
      }
      return says;
    }
  return "hangs";
}

void run() {
  const unsigned clusters = clusters_of(grid->shape);
  const unsigned resident = resident_blocks(grid->shape.cluster) / grid->shape.cluster;
  if (grid->shape.cooperative) {
    grid->barrier.expected = clusters * grid->shape.cluster * grid->shape.block.x *
                             grid->shape.block.y * grid->shape.block.z;
    while (grid->admitted < clusters) admit_cluster();
  }
  while (grid->error.empty() && grid->ended < clusters) {
    if (grid->ready.empty()) {
      // As on a GPU, others come when some have ended, or while there is room.
      if (grid->live >= kThreadsBeforeForgetting) forget_ended();
      const unsigned there = grid->admitted - grid->ended;
      if (grid->admitted < clusters && (there < resident || there == 0)) {
        admit_cluster();
      } else {
        grid->error = what_hangs();
        break;
      }
    }
    leave();
  }
  for (const auto& cluster : grid->clusters) forget(*cluster);
}

}  // namespace

void launch(const char* name, const GridShape& shape, void (*body)(void*), void* context) {
  const std::lock_guard lock(one_at_a_time);
  if (caller == nullptr) caller = std::make_unique<Fibre>();
  caller->adopt_caller();
  Grid launched;
  launched.name = name;
  launched.shape = shape;
  launched.body = body;
  launched.context = context;
  launched.random.seed(options.seed);
  grid = &launched;
  run();
  grid = nullptr;
  here = nullptr;
  if (!launched.error.empty()) throw KernelError(std::string(name) + ": " + launched.error);
}

std::string name_of(const Block& block) {
  const uint3 at = block.threads.front().place.block;
  return "block (" + std::to_string(at.x) + ", " + std::to_string(at.y) + ", " +
         std::to_string(at.z) + ")";
}

void fail(const std::string& what) {
  grid->error = name_of(*running->block) + ": " + what;
  for (;;) leave();  // to the scheduler, for good
}

void suspend(Wait wait) {
  running->wait = wait;
  leave();
}

void run_on() {
  if (options.schedule != Schedule::random || grid->random() % 2 == 0) return;
  grid->ready.push_back(running);
  std::swap(grid->ready[grid->random() % grid->ready.size()], grid->ready.back());
  leave();
}

void wake(Thread* threads, unsigned count, Wait waiting_for) {
  const bool reverse = options.schedule == Schedule::reverse;
  for (unsigned at = 0; at < count; at++) {
    Thread& thread = threads[reverse ? at : count - 1 - at];
    if (&thread == running || thread.wait != waiting_for) continue;
    thread.wait = Wait::none;
    grid->ready.push_back(&thread);
  }
}

// ------------------------------------------------------------------------------ memory of the
// cluster

unsigned char* dynamic_shared() { return running->block->shared; }
unsigned cluster_rank() { return running->block->rank; }
unsigned cluster_size() { return grid->shape.cluster; }

void* on_block(void* shared, unsigned rank) {
  const Block& block = *running->block;
  const auto offset = static_cast<unsigned char*>(shared) - block.shared;
  if (rank >= grid->shape.cluster)
    fail("asks for block " + std::to_string(rank) + " of a cluster of " +
         std::to_string(grid->shape.cluster));
  if (offset < 0 || static_cast<std::size_t>(offset) > grid->shape.shared_bytes)
    fail("maps an address that is not in its shared memory");
  const Block& other = *block.cluster->blocks[rank];
  if (other.ended == other.threads.size())
    fail("asks for the shared memory of " + name_of(other) + ", which has ended");
  return other.shared + offset;
}

}  // namespace drawgan::emulation
