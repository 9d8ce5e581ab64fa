#include <array>
#include <bit>

#include "bindings.h"
#include "draw_scan.h"

namespace drawgan::cuda {
namespace {

using WeightAddresses = std::array<Address, sizeof(DrawWeights) / sizeof(void*)>;
using ArrayAddresses = std::array<Address, sizeof(DrawArrays) / sizeof(void*)>;

const char* kind_name(TeamKind kind) { return kind == TeamKind::cluster ? "cluster" : "grid"; }

// `kind` "": the layout is reckoned here; else that of a team with its tiles. `resident`: bits of
// the matrices that stay in shared memory, negative: as many as fit.
DrawPlan plan_of(int channels, int height, int width, int read_N, int write_N, int hidden,
                 int latent, bool bf16_products, int64_t images, int64_t prior,
                 const std::string& kind, int team, int tiles, int resident) {
  const DrawSizes sizes{channels, height, width, read_N, write_N, hidden, latent};
  if (kind.empty()) return plan_draw(sizes, bf16_products, images, prior, nullptr);
  if (kind != "cluster" && kind != "grid")
    throw std::invalid_argument("a team is a 'cluster' or a 'grid', got '" + kind + "'");
  if (team < 1 || tiles < 1)
    throw std::invalid_argument("a team has at least one block and one tile");
  if (kind == "cluster" && resident >= 0 && static_cast<unsigned>(resident) != kAllResident)
    throw std::invalid_argument("a cluster keeps all its weights");
  const Prescribed layout{kind == "cluster" ? TeamKind::cluster : TeamKind::grid, team, tiles,
                          resident < 0 ? kAsFits : static_cast<unsigned>(resident) & kAllResident};
  return plan_draw(sizes, bf16_products, images, prior, &layout);
}

DrawCall call_of(const DrawPlan& plan, bool bf16_products, const WindowMap& read,
                 const WindowMap& write, int steps, int64_t images, int64_t all, Address x,
                 Address eps, Address prior_eps, const WeightAddresses& weights,
                 const ArrayAddresses& arrays, Address board, Address counters, Address streamed) {
  DrawCall call{};
  call.plan = plan;
  call.bf16 = bf16_products;
  call.read = read, call.write = write;
  call.steps = steps, call.images = images, call.all = all;
  call.x = as<const float>(x), call.eps = as<const float>(eps);
  call.prior_eps = as<const float>(prior_eps);
  call.weights = std::bit_cast<DrawWeights>(weights);
  call.arrays = std::bit_cast<DrawArrays>(arrays);
  call.board = pointer(board), call.counters = as<unsigned>(counters);
  call.streamed = pointer(streamed);
  return call;
}

void bind_plan(py::module_& m) {
  py::class_<DrawPlan>(m, "DrawPlan", py::module_local())
      .def_property_readonly("kind", [](const DrawPlan& p) { return kind_name(p.kind); })
      .def_readonly("threads", &DrawPlan::threads)
      .def_readonly("team", &DrawPlan::team)
      .def_readonly("teams", &DrawPlan::teams)
      .def_readonly("tiles", &DrawPlan::tiles)
      .def_readonly("by_warps", &DrawPlan::by_warps)
      .def_readonly("shared_bytes", &DrawPlan::shared_bytes)
      .def_readonly("board_bytes", &DrawPlan::board_bytes)
      .def_readonly("streamed_bytes", &DrawPlan::streamed_bytes)
      .def_property_readonly("resident", [](const DrawPlan& p) {
        return std::array<unsigned, 2>{p.forward.resident, p.backward.resident};
      });
  m.def("draw_scan_plan", &plan_of, py::kw_only(), py::arg("channels"), py::arg("height"),
        py::arg("width"), py::arg("read_N"), py::arg("write_N"), py::arg("hidden"),
        py::arg("latent"), py::arg("bf16"), py::arg("images"), py::arg("prior"),
        py::arg("kind") = "", py::arg("team") = 0, py::arg("tiles") = 0, py::arg("resident") = -1);
}

}  // namespace

void bind_draw(py::module_& m) {
  bind_plan(m);
  m.def(
      "draw_scan_steps",
      [](const DrawPlan& plan, bool bf16_products, const WindowMap& read, const WindowMap& write,
         int steps, int64_t images, int64_t all, Address x, Address eps, Address prior_eps,
         const WeightAddresses& weights, const ArrayAddresses& arrays, Address board,
         Address counters, Address streamed, bool recorded, Address mu, Address log_sigma,
         Address kl, Address stream) {
        const DrawCall call = call_of(plan, bf16_products, read, write, steps, images, all, x, eps,
                                      prior_eps, weights, arrays, board, counters, streamed);
        draw_scan({call, recorded, as<float>(mu), as<float>(log_sigma), as<double>(kl)},
                  as_stream(stream));
      },
      py::kw_only(), py::arg("plan"), py::arg("bf16"), py::arg("read"), py::arg("write"),
      py::arg("steps"), py::arg("images"), py::arg("all"), py::arg("x"), py::arg("eps"),
      py::arg("prior_eps"), py::arg("weights"), py::arg("arrays"), py::arg("board"),
      py::arg("counters"), py::arg("streamed"), py::arg("recorded"), py::arg("mu"),
      py::arg("log_sigma"), py::arg("kl"), py::arg("stream"), NoGil());
  m.def(
      "draw_scan_steps_backward",
      [](const DrawPlan& plan, bool bf16_products, const WindowMap& read, const WindowMap& write,
         int steps, int64_t images, int64_t all, Address x, Address eps, Address prior_eps,
         const WeightAddresses& weights, const ArrayAddresses& arrays, Address board,
         Address counters, Address streamed, Address mu, Address log_sigma, Address given_mu,
         Address given_log_sigma, Address given_kl, Address d_gates_enc, Address d_gates_dec,
         Address d_posterior, Address d_projections, Address d_h_enc, Address d_h_dec,
         Address d_c_enc, Address d_c_dec, Address d_glimpses, Address d_canvas, Address d_x,
         Address d_eps, Address d_prior_eps, bool first, bool last, Address stream) {
        DrawBackwardCall b{};
        b.call = call_of(plan, bf16_products, read, write, steps, images, all, x, eps, prior_eps,
                         weights, arrays, board, counters, streamed);
        b.mu = as<const float>(mu), b.log_sigma = as<const float>(log_sigma);
        b.given_mu = as<const float>(given_mu);
        b.given_log_sigma = as<const float>(given_log_sigma);
        b.given_kl = as<const float>(given_kl);
        b.d_gates_enc = pointer(d_gates_enc), b.d_gates_dec = pointer(d_gates_dec);
        b.d_posterior = pointer(d_posterior), b.d_projections = pointer(d_projections);
        b.d_h_enc = as<float>(d_h_enc), b.d_h_dec = as<float>(d_h_dec);
        b.d_c_enc = as<float>(d_c_enc), b.d_c_dec = as<float>(d_c_dec);
        b.d_glimpses = as<float>(d_glimpses), b.d_canvas = as<float>(d_canvas);
        b.d_x = as<float>(d_x), b.d_eps = as<float>(d_eps);
        b.d_prior_eps = as<float>(d_prior_eps);
        b.first = first, b.last = last;
        draw_scan_backward(b, as_stream(stream));
      },
      py::kw_only(), py::arg("plan"), py::arg("bf16"), py::arg("read"), py::arg("write"),
      py::arg("steps"), py::arg("images"), py::arg("all"), py::arg("x"), py::arg("eps"),
      py::arg("prior_eps"), py::arg("weights"), py::arg("arrays"), py::arg("board"),
      py::arg("counters"), py::arg("streamed"), py::arg("mu"), py::arg("log_sigma"),
      py::arg("given_mu"), py::arg("given_log_sigma"), py::arg("given_kl"), py::arg("d_gates_enc"),
      py::arg("d_gates_dec"), py::arg("d_posterior"), py::arg("d_projections"), py::arg("d_h_enc"),
      py::arg("d_h_dec"), py::arg("d_c_enc"), py::arg("d_c_dec"), py::arg("d_glimpses"),
      py::arg("d_canvas"), py::arg("d_x"), py::arg("d_eps"), py::arg("d_prior_eps"),
      py::arg("first"), py::arg("last"), py::arg("stream"), NoGil());
}

}  // namespace drawgan::cuda
