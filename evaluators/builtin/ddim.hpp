#pragma once
// A free, deterministic stand-in for the search of diffusion time steps (AutoDiffusion, Li et
// al., ICCV 2023): DDIM with the exact score on Gaussian data, where the Frechet distance of a
// step sequence has a closed form (our own derivation).  Component k = 1..32 of the data has
// variance 4/k^2; a step from t down to the next one multiplies it by a known gain, and the
// distance is the sum of the squared differences of standard deviations.

#include <cstddef>
#include <vector>

namespace paretod {

enum class NoiseSchedule {
  linear,  ///< beta from 1e-4 to 0.02, evenly (Ho et al., 2020)
  cosine,  ///< Nichol and Dhariwal, 2021, section 3.2
};

class DdimProblem {
 public:
  static constexpr int time_steps = 1000;
  static constexpr int components = 32;

  explicit DdimProblem(NoiseSchedule schedule);

  /// Distance of the sampler that uses these steps: at least one, each in [0, 999], ascending and
  /// distinct.
  [[nodiscard]] double distance(const std::vector<int>& steps) const {
    return distance(steps, std::vector<double>(components, 1.0));
  }
  /// The same as some samples would show it: the variance of each component is off by a factor.
  [[nodiscard]] double distance(const std::vector<int>& steps,
                                const std::vector<double>& factors) const;

 private:
  std::vector<double> alpha_bar_;  ///< share of signal variance left at each time step
};

/// Coordinates as a step sequence: ascending, repeated ones once.
std::vector<int> distinct_steps(const std::vector<double>& coordinates);

}  // namespace paretod
