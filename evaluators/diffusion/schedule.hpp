#pragma once
// The noise schedule of a diffusion model and the steps that DDIM takes through it.  Values; free
// functions are pure.

#include <cstddef>
#include <vector>

#include "evaluators/diffusion/simd.hpp"

namespace paretod {

/// alpha_bar[t] for t = 0 .. timesteps-1: the share of signal left after t+1 noising steps.
/// The cosine schedule of Nichol and Dhariwal (2021), section 3.2, with beta capped at 0.999.
std::vector<double> cosine_alpha_bar(std::size_t timesteps);

/// alpha_bar at a time between 0 and alpha_bar.size() - 1 that need not be whole: linear in its
/// logarithm between neighbours, as DPM-Solver reads a discrete schedule (Lu et al. 2022,
/// appendix C).
double alpha_bar_at(const std::vector<double>& alpha_bar, double time);

/// `count` evenly spaced times, the last one included: round((i+1) timesteps / count) - 1, halves
/// to even.  Requires 1 <= count <= timesteps.
std::vector<std::size_t> uniform_times(std::size_t timesteps, std::size_t count);

struct DdimStep {
  std::size_t time;
  DdimCoefficients coefficients;
};

/// The steps at the given distinct times, noisiest first.  After the last one the sample is clean.
std::vector<DdimStep> ddim_steps(const std::vector<double>& alpha_bar,
                                 std::vector<std::size_t> times);

}  // namespace paretod
