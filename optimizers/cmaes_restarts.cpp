#include "optimizers/cmaes_restarts.hpp"

#include <algorithm>
#include <cmath>

namespace paretod {
namespace {

constexpr double most_multiplier = 1024;

}  // namespace

RestartSchedule::RestartSchedule(Kind kind, std::size_t dimension, double base_population)
    : kind_(kind), base_population_(base_population) {
  const auto n = static_cast<double>(dimension);
  usual_generations_ = 100 + 150 * (n + 3) * (n + 3) / std::sqrt(base_population);
}

RestartSchedule::Run RestartSchedule::next(Rng& rng) {
  const bool again = runs_ > 0;
  small_ =
      !again || (kind_ == Kind::bipop && small_trials_ < std::max<std::uint64_t>(1, large_trials_));
  if (again && small_) ++small_runs_;
  const std::size_t doublings = std::min<std::size_t>(runs_ - small_runs_, 60);
  const double multiplier = std::min(most_multiplier, std::exp2(static_cast<double>(doublings)));
  ++runs_;
  double sigma_factor = 1;
  double population = base_population_;
  double generations = usual_generations_;
  if (again && small_) {
    sigma_factor = std::pow(0.01, rng.uniform());
    const double u = rng.uniform();
    population = std::floor(base_population_ * std::pow(multiplier, u * u));
    generations = std::min(generations, 0.5 * static_cast<double>(large_trials_) / population);
  } else if (again) {
    population = base_population_ * multiplier;
  }
  return {static_cast<std::size_t>(population), sigma_factor,
          static_cast<std::size_t>(generations)};
}

void RestartSchedule::end(std::uint64_t trials) {
  (small_ ? small_trials_ : large_trials_) += trials;
}

}  // namespace paretod
