// What the kernels of every core know of a convention: numbers and flags, no names.
#pragma once

namespace drawgan {

enum class Normalisation : int { softmax, add, max, each, total, none };

// How five raw numbers become a canonical window, for one image size and one N. The names of the
// conventions stay in Python (AttentionSpec); here they are already numbers.
struct WindowMap {
  int x = 0, y = 1, sigma = 2, delta = 3, gamma = 4;  // positions in the five numbers
  double extent_x = 0, extent_y = 0;  // centre = extent / 2 * (g + 1) + origin + to_middle * delta
  double origin = 0;
  double to_middle = 0;                    // strides from the grid's nominal centre to its middle
  double delta_scale = 0;                  // delta = delta_scale * exp(number)
  double sigma_scale = 1, sigma_bias = 0;  // log sigma^2 = scale * number + bias, clamped
  double log_sigma2_low = 0, log_sigma2_high = 0;
  double max_centre = 0, max_log_delta = 0, max_log_gamma = 0;  // where the numbers saturate
  double eps = 0;                                               // of the normalisation
  double intensity_sign = 1;                                    // a write divides by gamma: -1
  int gamma_power = 1;
  Normalisation normalisation = Normalisation::softmax;
  bool centre_tanh = false;
  bool gamma_sigmoid = false;
  bool swap_centres = false;  // the x number places the window along the height
  bool transposed = false;    // the glimpse or patch is transposed
};

}  // namespace drawgan
