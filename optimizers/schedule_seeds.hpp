#pragma once
// Schedules that people use without a search, for a diffusion model whose noise schedule is known
// or guessed: where a search starts, and what its result has to beat.

#include <cstddef>
#include <string>
#include <vector>

#include "optimizers/core/parameter.hpp"

namespace paretod {

/// alpha_bar[t] for t = 0 .. 999: beta from 1e-4 to 0.02, evenly (Ho et al., 2020), or cosine
/// (Nichol and Dhariwal, 2021, section 3.2, with beta at most 0.999).
std::vector<double> linear_alpha_bars();
std::vector<double> cosine_alpha_bars();

/// Nodes of `count` steps within the bounds of a schedule parameter, increasing; whole where its
/// nodes are.  Requires as many places.
///
/// Evenly spaced, the noisiest step included ("trailing"): round((i+1) N / count) - 1 of N places.
std::vector<double> uniform_nodes(const Parameter& schedule, std::size_t count);
/// Evenly spaced, the cleanest included ("leading"): the multiples of N / count.
std::vector<double> leading_nodes(const Parameter& schedule, std::size_t count);
/// Squares of evenly spaced numbers up to 0.8 N (Song et al., DDIM, appendix D.2).
std::vector<double> quadratic_nodes(const Parameter& schedule, std::size_t count);
/// Evenly spaced in log(alpha_bar / (1 - alpha_bar)): where its range, cut into `count` equal parts,
/// has the parts' middles.  The alpha-bars decrease, and are spread evenly over the bounds.
std::vector<double> log_snr_nodes(const Parameter& schedule, std::size_t count,
                                  const std::vector<double>& alpha_bars);

struct ScheduleSeed {
  std::string name;
  std::vector<double> nodes;
};
/// All of the above for a number of steps, the uniform one first, without repetition.  One of log
/// SNR per noise schedule that is given, called "log-snr" or, of several, "log-snr 2".
std::vector<ScheduleSeed> schedule_seeds(const Parameter& schedule, std::size_t count,
                                         const std::vector<std::vector<double>>& alpha_bars);

}  // namespace paretod
