#include "optimizers/schedule_genome.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace paretod {

double ScheduleCosts::of(const Step& taken) const {
  double sum = step;
  for (std::size_t l = 0; l < layers.size(); ++l) sum += taken.dropped[l] ? 0 : layers[l];
  return choices.empty() ? sum : choices[static_cast<std::size_t>(taken.choice)] * sum;
}

double ScheduleCosts::of(const Steps& steps) const {
  double sum = 0;
  for (const Step& taken : steps) sum += of(taken);
  return sum;
}

double ScheduleCosts::full_step() const {
  const double runs = choices.empty() ? 1 : *std::min_element(choices.begin(), choices.end());
  return runs * std::accumulate(layers.begin(), layers.end(), step);
}

double ScheduleCosts::least_step() const {
  const double runs = choices.empty() ? 1 : *std::min_element(choices.begin(), choices.end());
  return runs * step;
}

bool ScheduleCosts::allows(const Steps& steps) const {
  // Sums of costs that are not whole numbers depend on their order.
  return most <= 0 || of(steps) <= most * (1 + 1e-12);
}

ScheduleCoding::ScheduleCoding(const SearchSpace& space, std::size_t parameter)
    : space_(space), index_(parameter) {}

Steps ScheduleCoding::decode(const Point& point) const {
  const Parameter& p = parameter();
  const double* next = point.data() + space_.offset(index_);
  Steps steps(static_cast<std::size_t>(*next++));
  for (Step& step : steps) {
    step.at = *next++;
    if (!p.choices.empty()) step.choice = *next++;
    for (std::size_t b = 0; b < p.mask.size(); ++b) step.dropped.push_back(*next++ != 0);
  }
  return steps;
}

Point ScheduleCoding::encode(const Steps& steps, Point point) const {
  const Parameter& p = parameter();
  double* next = point.data() + space_.offset(index_);
  std::fill_n(next, space_.width(index_), 0.0);
  *next++ = static_cast<double>(steps.size());
  for (const Step& step : steps) {
    *next++ = step.at;
    if (!p.choices.empty()) *next++ = step.choice;
    for (const bool dropped : step.dropped) *next++ = dropped ? 1 : 0;
  }
  return space_.repair(std::move(point));
}

Steps ScheduleCoding::repaired(const Steps& steps) const {
  return decode(encode(steps, space_.resting()));
}

void fit_to_costs(const Parameter& parameter, const ScheduleCosts& costs, Steps& steps, Rng& rng) {
  const auto drop_one = [&] {
    std::vector<std::pair<std::size_t, std::size_t>> kept;
    for (std::size_t s = 0; s < steps.size(); ++s) {
      for (std::size_t l = 0; l < costs.layers.size(); ++l) {
        if (!steps[s].dropped[l] && costs.layers[l] > 0) kept.emplace_back(s, l);
      }
    }
    if (kept.empty()) return false;
    const auto [s, l] = kept[rng.below(kept.size())];
    steps[s].dropped[l] = true;
    return true;
  };
  const auto remove_closest = [&] {
    if (steps.size() <= parameter.least) return false;
    std::size_t closest = 0;
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t s = 0; s < steps.size(); ++s) {
      const double before = s == 0 ? parameter.low : steps[s - 1].at;
      const double after = s + 1 == steps.size() ? parameter.high : steps[s + 1].at;
      if (after - before >= least) continue;
      least = after - before;
      closest = s;
    }
    steps.erase(steps.begin() + static_cast<std::ptrdiff_t>(closest));
    return true;
  };
  while (!costs.allows(steps)) {
    const bool drop = !costs.layers.empty() && rng.bernoulli(0.5);
    if (drop ? drop_one() || remove_closest() : remove_closest() || drop_one()) continue;
    // Nothing left but what the steps run.
    const auto cheapest = std::min_element(costs.choices.begin(), costs.choices.end());
    for (Step& step : steps) step.choice = static_cast<double>(cheapest - costs.choices.begin());
    return;
  }
}

Steps resampled(const Steps& steps, std::size_t count, double low, double high) {
  if (count == steps.size()) return steps;
  const auto n = static_cast<double>(steps.size());
  const auto node = [&](double rank) {  // linear beyond the ends, too
    if (steps.size() == 1) {
      return rank < 0 ? steps[0].at + 2 * rank * (steps[0].at - low)
                      : steps[0].at + 2 * rank * (high - steps[0].at);
    }
    const double inner = std::clamp(std::floor(rank), 0.0, n - 2);
    const auto i = static_cast<std::size_t>(inner);
    return steps[i].at + (rank - inner) * (steps[i + 1].at - steps[i].at);
  };
  Steps made;
  for (std::size_t s = 0; s < count; ++s) {
    const double rank = (static_cast<double>(s) + 0.5) * n / static_cast<double>(count) - 0.5;
    const auto nearest = static_cast<std::size_t>(std::clamp(std::floor(rank + 0.5), 0.0, n - 1));
    Step step = steps[nearest];
    step.at = std::clamp(node(rank), low, high);
    made.push_back(std::move(step));
  }
  return made;
}

}  // namespace paretod
