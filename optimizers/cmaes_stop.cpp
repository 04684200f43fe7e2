#include "optimizers/cmaes_stop.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace paretod {
namespace {

constexpr double tolerance_f = 1e-11;
constexpr double tolerance_f_history = 1e-12;
constexpr double tolerance_x = 1e-12;  // of the box
constexpr double most_growth = 1e3;
constexpr double most_condition = 1e14;

double value(const Merit& merit) {
  return merit.violation > 0 ? std::numeric_limits<double>::infinity() : merit.value;
}

double middle(std::vector<double> values) {
  const auto half = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), half, values.end());
  return *half;
}

}  // namespace

StopCriteria::StopCriteria(std::vector<std::size_t> continuous, double sigma,
                           std::size_t most_generations)
    : continuous_(std::move(continuous)), sigma_(sigma), most_generations_(most_generations) {}

bool StopCriteria::reached(const CmaEs& core, const std::vector<Merit>& sorted) {
  const auto n = static_cast<double>(core.dimension());
  const std::size_t population = core.population();
  const auto lambda = static_cast<double>(population);
  ++generations_;
  best_.push_front(value(sorted.front()));
  median_.push_front(value(sorted[population / 2]));
  if (sorted.front() < top_) {
    top_ = sorted.front();
    improved_at_ = generations_;
  }
  const double patience = std::floor(100 + 100 * n * std::sqrt(n) / lambda);
  if (best_.size() > static_cast<std::size_t>(20000 + 2 * patience)) {
    best_.pop_back();
    median_.pop_back();
  }
  if (generations_ >= most_generations_ || flat(sorted, n)) return true;

  double widest = 0;
  for (const std::size_t i : continuous_) {
    widest = std::max({widest, core.deviation(i), std::abs(core.drift(i))});
  }
  if (!continuous_.empty() && widest < tolerance_x) return true;
  if (widest > most_growth * sigma_) return true;
  if (core.axis_ratio() > std::sqrt(most_condition) || core.exhausted()) return true;
  return stagnates(n, lambda, patience);
}

bool StopCriteria::flat(const std::vector<Merit>& sorted, double n) {
  // Differences with infinity are infinite or not a number, and stop nothing.
  const std::size_t population = sorted.size();
  const auto recent =
      std::min(best_.size(),
               static_cast<std::size_t>(10 + std::ceil(30 * n / static_cast<double>(population))));
  const auto [low, high] =
      std::minmax_element(best_.begin(), best_.begin() + static_cast<std::ptrdiff_t>(recent));
  if (generations_ > 9) {
    if (*high - *low < tolerance_f_history) return true;
    if (*high - *low < tolerance_f && value(sorted.back()) - value(sorted.front()) < tolerance_f) {
      return true;
    }
  }
  flat_ = sorted.front() < sorted[3 * population / 4] ? 0 : flat_ + 1;
  return flat_ > 1 && generations_ > 9 && !(*low < *high);
}

/// Neither the best nor the median generation gets better, old against new half of a window.
bool StopCriteria::stagnates(double n, double lambda, double patience) const {
  const auto since = static_cast<double>(generations_ - improved_at_);
  const auto length = static_cast<std::ptrdiff_t>(
      std::max(0.3 * static_cast<double>(best_.size()) / 2, patience / 2));
  if (static_cast<double>(generations_) <= n * (5 + 100 / lambda) || since <= patience / 2 ||
      best_.size() <= 100 || 2 * length >= static_cast<std::ptrdiff_t>(best_.size())) {
    return false;
  }
  const auto falls = [&](const std::deque<double>& values) {
    return middle({values.begin(), values.begin() + length}) <
           middle({values.begin() + length, values.begin() + 2 * length});
  };
  return !falls(median_) && !falls(best_);
}

}  // namespace paretod
