#include "evaluators/builtin/ddim.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace paretod {
namespace {

double linear_beta(int t) {
  return 1e-4 + (0.02 - 1e-4) * t / (DdimProblem::time_steps - 1);
}

double cosine_beta(int t) {
  const auto signal = [](int step) {
    constexpr double offset = 0.008;
    const double fraction = static_cast<double>(step) / DdimProblem::time_steps;
    return std::pow(std::cos((fraction + offset) / (1 + offset) * std::numbers::pi / 2), 2);
  };
  return std::min(0.999, 1 - signal(t + 1) / signal(t));
}

}  // namespace

DdimProblem::DdimProblem(NoiseSchedule schedule) {
  double product = 1;
  for (int t = 0; t < time_steps; ++t) {
    product *= 1 - (schedule == NoiseSchedule::linear ? linear_beta(t) : cosine_beta(t));
    alpha_bar_.push_back(product);
  }
}

double DdimProblem::distance(const std::vector<int>& steps,
                             const std::vector<double>& factors) const {
  double total = 0;
  for (int k = 1; k <= components; ++k) {
    const double variance = 4.0 / (k * k);
    double gain = 1;
    double lower = 1;  // after the last step the sample is clean
    for (const int t : steps) {
      const double a = alpha_bar_[static_cast<std::size_t>(t)];
      gain *= (std::sqrt(a * lower) * variance + std::sqrt((1 - a) * (1 - lower))) /
              (a * variance + 1 - a);
      lower = a;
    }
    const double difference =
        std::abs(gain) * std::sqrt(factors[static_cast<std::size_t>(k - 1)]) - std::sqrt(variance);
    total += difference * difference;
  }
  return total;
}

std::vector<int> distinct_steps(const std::vector<double>& coordinates) {
  std::vector<int> steps;
  for (const double coordinate : coordinates) steps.push_back(static_cast<int>(coordinate));
  std::sort(steps.begin(), steps.end());
  steps.erase(std::unique(steps.begin(), steps.end()), steps.end());
  return steps;
}

}  // namespace paretod
