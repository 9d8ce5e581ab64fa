// Operations of a warp: each lane says what it brings and waits; the last one to come does the work
// of all, so that an operation costs one switch a lane.
#include <bit>
#include <cmath>
#include <cstring>

#include "threads.h"

namespace drawgan::emulation {
namespace {

void meet(unsigned mask, Operation operation) {
  Thread& thread = *running;
  Warp& warp = *thread.warp;
  if (!(mask >> thread.lane & 1u))
    fail("lane " + std::to_string(thread.lane) +
         " calls a warp operation whose mask leaves it out");
  warp.mask[thread.lane] = mask;
  warp.operation[thread.lane] = operation;
  warp.waiting |= 1u << thread.lane;
  const unsigned group = mask & warp.existing;
  bool complete = (warp.waiting & group) == group;
  for (unsigned rest = group; complete && rest != 0; rest &= rest - 1)
    complete = warp.mask[std::countr_zero(rest)] == mask;
  if (!complete) {
    suspend(Wait::warp);
    return;
  }
  for (unsigned rest = group; rest != 0; rest &= rest - 1)
    if (warp.operation[std::countr_zero(rest)] != operation)
      fail("lanes of one warp meet in different operations");
  operation(warp, group);
  warp.waiting &= ~group;
  // Lane by lane, since others of the warp may wait for somebody else.
  const bool reverse = options.schedule == Schedule::reverse;
  for (unsigned at = 0; at < 32; at++) {
    const unsigned lane = reverse ? at : 31 - at;
    if (group >> lane & 1u && lane != thread.lane) {
      warp.threads[lane].wait = Wait::none;
      grid->ready.push_back(&warp.threads[lane]);
    }
  }
  run_on();
}

Lane& own_lane() { return running->warp->lanes[running->lane]; }

void shuffle_all(Warp& warp, unsigned lanes) {
  std::uint64_t values[32];
  for (unsigned lane = 0; lane < 32; lane++) values[lane] = warp.lanes[lane].value;
  for (unsigned rest = lanes; rest != 0; rest &= rest - 1) {
    Lane& lane = warp.lanes[std::countr_zero(rest)];
    if (!(lanes >> lane.source & 1u))
      fail("a shuffle reads lane " + std::to_string(lane.source) + ", which takes no part in it");
    lane.value = values[lane.source];
  }
}

void vote_all(Warp& warp, unsigned lanes) {
  unsigned votes = 0;
  for (unsigned rest = lanes; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    votes |= static_cast<unsigned>(warp.lanes[lane].value) << lane;
  }
  for (unsigned rest = lanes; rest != 0; rest &= rest - 1)
    warp.lanes[std::countr_zero(rest)].value = votes;
}

float low(std::uint32_t pair) { return std::bit_cast<float>(pair << 16); }
float high(std::uint32_t pair) { return std::bit_cast<float>(pair & 0xffff0000u); }

// Fragments as the PTX manual draws them for m16n8k16; products exact and summed in float.
void mma_all(Warp& warp, unsigned lanes) {
  if (lanes != ~0u) fail("mma needs all 32 lanes");
  float a[16][16], b[16][8], d[16][8];
  for (unsigned lane = 0; lane < 32; lane++) {
    const Lane& from = warp.lanes[lane];
    const unsigned g = lane / 4, k = lane % 4 * 2;
    for (unsigned part = 0; part < 4; part++) {
      const unsigned row = g + part % 2 * 8, column = k + part / 2 * 8;
      a[row][column] = low(from.a[part]), a[row][column + 1] = high(from.a[part]);
    }
    for (unsigned part = 0; part < 2; part++) {
      b[k + part * 8][g] = low(from.b[part]), b[k + part * 8 + 1][g] = high(from.b[part]);
      d[g + part * 8][k] = from.d[part * 2], d[g + part * 8][k + 1] = from.d[part * 2 + 1];
    }
  }
  for (unsigned row = 0; row < 16; row++)
    for (unsigned k = 0; k < 16; k++)
      for (unsigned column = 0; column < 8; column++) d[row][column] += a[row][k] * b[k][column];
  for (unsigned lane = 0; lane < 32; lane++) {
    const unsigned g = lane / 4, k = lane % 4 * 2;
    for (unsigned part = 0; part < 4; part++)
      warp.lanes[lane].d[part] = d[g + part / 2 * 8][k + part % 2];
  }
}

void load_matrices_all(Warp& warp, unsigned lanes) {
  if (lanes != ~0u) fail("a load of matrices needs all 32 lanes");
  std::uint32_t rows[32][4];
  for (unsigned lane = 0; lane < 32; lane++)
    std::memcpy(rows[lane], warp.lanes[lane].a, sizeof rows[lane]);
  for (unsigned lane = 0; lane < 32; lane++)
    for (unsigned matrix = 0; matrix < 4; matrix++)
      warp.lanes[lane].a[matrix] = rows[matrix * 8 + lane / 4][lane % 4];
}

}  // namespace

void warp_barrier(unsigned mask) {
  Warp& warp = *running->warp;
  // A group is known by its lowest lane; its phase goes up once all have come.
  const unsigned group = static_cast<unsigned>(std::countr_zero(mask));
  const unsigned phase = warp.phase[group];
  warp.keys[group].release(phase);
  meet(mask, [](Warp& met, unsigned lanes) { met.phase[std::countr_zero(lanes)]++; });
  warp.keys[group].acquire(phase);
}

std::uint64_t warp_shuffle(unsigned mask, std::uint64_t value, unsigned source) {
  Lane& lane = own_lane();
  lane.value = value;
  lane.source = source;
  meet(mask, shuffle_all);
  return lane.value;
}

unsigned warp_ballot(unsigned mask, bool vote) {
  Lane& lane = own_lane();
  lane.value = vote;
  meet(mask, vote_all);
  return static_cast<unsigned>(lane.value);
}

void warp_mma_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  Lane& lane = own_lane();
  std::memcpy(lane.a, a, sizeof a);
  std::memcpy(lane.b, b, sizeof b);
  std::memcpy(lane.d, d, sizeof d);
  meet(~0u, mma_all);
  std::memcpy(d, lane.d, sizeof d);
}

void warp_load_matrices(std::uint32_t (&r)[4], const std::uint32_t (&row)[4]) {
  Lane& lane = own_lane();
  std::memcpy(lane.a, row, sizeof row);
  meet(~0u, load_matrices_all);
  std::memcpy(r, lane.a, sizeof r);
}

}  // namespace drawgan::emulation
