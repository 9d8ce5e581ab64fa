// Which layout of the recurrence a device gets: the one with the least reckoned time of those that
// fit. docs/cuda.md has the budget that the reckoning follows.
#include <algorithm>
#include <optional>
#include <string>

#include "attention_write.cuh"
#include "draw_scan.h"
#include "product.cuh"

namespace drawgan::cuda {
namespace {

#ifdef DRAWGAN_CUDA_EMULATION
constexpr int kThreads = 64;  // threads are dear there
#else
constexpr int kThreads = 256;
#endif
constexpr int kFloat = sizeof(float);

// Hands out shared memory, 128 bytes at a time.
class Layout {
 public:
  int take(int64_t bytes) {
    const int64_t at = end_;
    end_ += (bytes + 127) / 128 * 128;
    return static_cast<int>(std::min<int64_t>(at, INT32_MAX));
  }
  int end() const { return static_cast<int>(std::min<int64_t>(end_, INT32_MAX)); }

 private:
  int64_t end_ = 0;
};

int most_sums(int threads) { return product_scratch(threads, 4) * kFloat; }

// What a block keeps in shared memory, and what it does not, at most.
struct Kept {
  int64_t shared = 0, streamed = 0;
};

template <class Bytes>
Kept kept(const DrawPlan& p, unsigned resident, const Bytes& bytes_of) {
  Kept most;
  for (int rank = 0; rank < p.team; rank++) {
    const MatrixBytes bytes = bytes_of(rank);
    Kept here;
    for (int matrix = 0; matrix < kMatrices; matrix++)
      (resident >> matrix & 1u ? here.shared : here.streamed) += bytes.of[matrix];
    most = {std::max(most.shared, here.shared), std::max(most.streamed, here.streamed)};
  }
  return most;
}

void lay_out_forward(DrawPlan& p) {
  const DrawSizes& s = p.sizes;
  DrawPlan::Forward& o = p.forward;
  const int64_t units = largest_share(p.unit_blocks(), p.team);
  const int64_t latents = largest_share(p.latent_blocks(), p.team);
  const int64_t numbers = largest_share(p.number_blocks(), p.team);
  const int64_t left = static_cast<int64_t>(kLeft) * p.element * p.tiles, rows = p.rows();
  const int64_t groups = p.by_warps ? p.threads / 32 : 1;
  const Kept weights = kept(p, o.resident, [&](int rank) { return p.forward_weights(rank); });
  p.streamed_bytes = std::max(p.streamed_bytes, weights.streamed);
  Layout layout;
  o.weights = layout.take(weights.shared);
  o.bias = layout.take((8 * units + 2 * latents + numbers) * kWide * kFloat);
  o.board = o.glimpses = layout.take(p.glimpse_blocks() * left);
  for (int& h : o.h_enc) h = layout.take(p.unit_blocks() * left);
  for (int& h : o.h_dec) h = layout.take(p.unit_blocks() * left);
  o.z = layout.take(p.latent_blocks() * left);
  o.numbers = layout.take(rows * p.number_blocks() * kWide * kFloat);
  o.board_end = layout.end();
  o.c_enc = layout.take(rows * units * kWide * kFloat);
  o.c_dec = layout.take(rows * units * kWide * kFloat);
  o.kl = layout.take(rows * latents * kWide * kFloat);
  o.scratch = layout.take(most_sums(p.threads));
  o.attention = layout.take(groups * p.attention_floats * kFloat);
  o.canvas = layout.take(static_cast<int64_t>(p.samples()) * s.pixels() * kFloat);
  o.end = layout.end();
}

void lay_out_backward(DrawPlan& p) {
  const DrawSizes& s = p.sizes;
  DrawPlan::Backward& o = p.backward;
  const int64_t units = largest_share(p.unit_blocks(), p.team);
  const int64_t left = static_cast<int64_t>(kLeft) * p.element * p.tiles, rows = p.rows();
  const int64_t gates = 4 * p.unit_blocks(), posterior = 2 * p.latent_blocks();
  const int64_t groups = p.by_warps ? p.threads / 32 : 1;
  const Kept weights = kept(p, o.resident, [&](int rank) { return p.backward_weights(rank); });
  p.streamed_bytes = std::max(p.streamed_bytes, weights.streamed);
  Layout layout;
  o.weights = layout.take(weights.shared);
  o.board = o.d_numbers = layout.take(p.number_blocks() * left);
  o.d_gates = layout.take(gates * left);
  o.d_posterior = layout.take(posterior * left);
  o.d_glimpses = layout.take(rows * p.glimpse_blocks() * kWide * kFloat);
  o.board_end = layout.end();
  for (int* state : {&o.d_h_enc, &o.d_h_dec, &o.d_c_enc, &o.d_c_dec})
    *state = layout.take(rows * units * kWide * kFloat);
  o.scratch = layout.take(most_sums(p.threads) / 2);  // two columns a thread, not four gates
  o.attention = layout.take(groups * p.attention_floats * kFloat);
  o.d_canvas = layout.take(static_cast<int64_t>(p.samples()) * s.pixels() * kFloat);
  o.end = layout.end();
}

// Of the sets of matrices that can be resident, the one with the most bytes that fits; the least of
// them where none does, so that the caller can say how much is missing.
template <class LayOut>
void keep_most(DrawPlan& p, unsigned& resident, const int& end, int64_t limit, bool streams,
               const LayOut& lay_out) {
  unsigned best = streams ? 0u : kAllResident;
  int most = -1;
  for (unsigned set = streams ? 0u : kAllResident; set <= kAllResident; set++) {
    resident = set;
    lay_out(p);
    if (end <= limit && end > most) best = set, most = end;
  }
  resident = best;
}

DrawPlan lay_out(const DrawSizes& sizes, const Prescribed& layout, bool bf16_products,
                 int64_t limit) {
  DrawPlan p{};
  p.sizes = sizes;
  p.kind = layout.kind;
  p.threads = kThreads;
  p.team = layout.team;
  p.teams = 1;
  p.tiles = layout.tiles;
  p.element = bf16_products ? sizeof(bf16) : sizeof(float);
  p.by_warps = p.samples() >= 4;
  const int H = sizes.height, W = sizes.width, warps = p.by_warps ? 1 : kThreads / 32;
  const ReadScratch read{H, W, sizes.read_N, 2, warps};
  const WriteScratch write{H, W, sizes.write_N, warps};
  p.attention_floats = std::max({write.forward(), read.forward() + sizes.glimpses(),
                                 sizes.projection() + std::max(read.backward(), write.backward())});
  p.forward.resident = p.backward.resident = layout.resident;
  if (layout.resident == kAsFits) {
    const bool streams = layout.kind == TeamKind::grid;
    keep_most(p, p.forward.resident, p.forward.end, limit, streams, lay_out_forward);
    keep_most(p, p.backward.resident, p.backward.end, limit, streams, lay_out_backward);
  }
  p.streamed_bytes = 0;
  lay_out_forward(p);
  lay_out_backward(p);
  p.shared_bytes = std::max(p.forward.end, p.backward.end);
  if (layout.kind == TeamKind::grid)
    p.board_bytes =
        std::max(p.forward.board_end - p.forward.board, p.backward.board_end - p.backward.board);
  return p;
}

// Reckoned microseconds of a forward step of one wave, on an H100: what a plan is chosen by, not a
// claim. Products at the rates that mma.sync and the multiply-add units reach on operands in shared
// memory, barriers and copies through L2 at what is usual for them.
double reckoned(const DrawPlan& p, bool bf16_products, int64_t samples_in_all) {
  const DrawSizes& s = p.sizes;
  const double units = largest_share(p.unit_blocks(), p.team) * kWide;
  const double latents = largest_share(p.latent_blocks(), p.team) * kWide;
  const double per_row =
      4 * units * (s.glimpses() + 3.0 * s.hidden + s.latent) + 2 * latents * s.hidden;
  const double products = p.rows() * per_row / (bf16_products ? 1.2e6 : 0.12e6);
  const double barrier = p.team == 1 ? 0.1 : p.kind == TeamKind::cluster ? 0.4 : 1.5;
  const double taken = static_cast<double>(p.board_bytes + p.streamed_bytes) / 0.06e6;
  const double attention = p.by_warps ? (p.samples() + 7) / 8 * 6.0 : p.samples() * 2.0;
  const int64_t tiles = (samples_in_all + p.rows() - 1) / p.rows();
  const double waves = static_cast<double>((tiles + p.teams - 1) / p.teams);
  return waves * (5 * barrier + products + taken + attention + 0.5);
}

class Search {
 public:
  Search(const DrawSizes& sizes, bool bf16_products, int64_t images, int64_t prior)
      : sizes_(sizes),
        bf16_(bf16_products),
        images_(images),
        prior_(prior),
        device_(device_limits("draw_scan")) {}

  void consider(const Prescribed& layout) {
    const int64_t limit = static_cast<int64_t>(device_.shared_bytes);
    DrawPlan p = lay_out(sizes_, layout, bf16_, limit);
    least_ = std::min(least_, p.shared_bytes);
    if (p.shared_bytes > limit) return;
    const int resident = std::min(resident_teams(p, bf16_), resident_teams_backward(p, bf16_));
    if (resident < 1) return;
    const auto of = [&](int64_t samples) { return (samples + p.rows() - 1) / p.rows(); };
    p.teams = static_cast<int>(
        std::clamp<int64_t>(of(images_) + of(prior_), 1, static_cast<int64_t>(resident)));
    const double time = reckoned(p, bf16_, images_ + prior_);
    if (!best_ || time < best_time_) best_ = p, best_time_ = time;
  }

  void consider_all() {
    for (int tiles = 1; tiles <= 8; tiles *= 2) {
      if (device_.capability >= 90)
        for (int team = 1; team <= kLargestCluster; team *= 2)
          consider({TeamKind::cluster, team, tiles, kAsFits});
      int before = 0;
      for (int teams = device_.processors; teams >= 1; teams--) {
        const int team = device_.processors / teams;  // each size once
        if (team != before) consider({TeamKind::grid, before = team, tiles, kAsFits});
      }
    }
  }

  DrawPlan best() const {
    if (best_) return *best_;
    throw CudaError("draw_scan: the network does not fit on " + device_.name + ": it needs " +
                    std::to_string(least_) +
                    " bytes of shared memory a block at least, the limit is " +
                    std::to_string(device_.shared_bytes) + "; the triton backend can run it");
  }

 private:
  DrawSizes sizes_;
  bool bf16_;
  int64_t images_, prior_;
  DeviceLimits device_;
  int64_t least_ = INT64_MAX;
  std::optional<DrawPlan> best_;
  double best_time_ = 0.0;
};

}  // namespace

DrawPlan plan_draw(const DrawSizes& sizes, bool bf16_products, int64_t images, int64_t prior,
                   const Prescribed* prescribed) {
  Search search(sizes, bf16_products, images, prior);
  if (prescribed != nullptr)
    search.consider(*prescribed);
  else
    search.consider_all();
  return search.best();
}

}  // namespace drawgan::cuda
