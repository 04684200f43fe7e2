#include "optimizers/core/stagnation.hpp"

#include <algorithm>
#include <cmath>
#include <functional>

namespace paretod {
namespace {

bool nowhere_worse(const std::vector<double>& a, const std::vector<double>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), std::less_equal<>());
}

}  // namespace

StagnationWatch::StagnationWatch(Evaluations& inner, StagnationPolicy policy)
    : inner_(inner), policy_(policy) {}

TrialNumber StagnationWatch::submit(const Candidate& candidate) {
  const bool due = policy_.trials > 0 && told_ - progress_at_ >= policy_.trials;
  if (due && !thrown_) {
    thrown_ = true;
    throw Stagnated{};
  }
  return inner_.submit(candidate);
}

Trial StagnationWatch::next() {
  Trial trial = inner_.next();
  ++told_;
  if (policy_.trials == 0) return trial;
  const bool counts = trial.violation() <= 0;
  if (told_ <= policy_.trials) {
    if (counts) first_.push_back(trial.objectives);
    if (told_ == policy_.trials) begin();
    progress_at_ = told_;
  } else if (counts && improves(trial.objectives)) {
    progress_at_ = told_;
  }
  return trial;
}

void StagnationWatch::begin() {
  if (first_.empty()) return;
  const std::size_t objectives = first_[0].size();
  const double usual = objectives == 1 ? 1e-3 : 1e-2;
  const double tolerance = policy_.tolerance > 0 ? policy_.tolerance : usual;
  for (std::size_t k = 0; k < objectives; ++k) {
    double low = first_[0][k];
    double high = low;
    for (const auto& y : first_) {
      low = std::min(low, y[k]);
      high = std::max(high, y[k]);
    }
    const double range = high > low ? high - low : std::max(std::abs(low), 1.0);
    origin_.push_back(low);
    width_.push_back(range * tolerance);
  }
  for (const auto& y : first_) static_cast<void>(improves(y));
  first_ = {};
}

bool StagnationWatch::improves(const std::vector<double>& objectives) {
  if (width_.empty()) {  // nothing was feasible so far: this one is, which is progress
    first_.push_back(objectives);
    begin();
    return true;
  }
  std::vector<double> box(objectives.size());
  for (std::size_t k = 0; k < box.size(); ++k) {
    box[k] = std::floor((objectives[k] - origin_[k]) / width_[k]);
  }
  const auto covered = [&](const auto& other) { return nowhere_worse(other, box); };
  if (std::any_of(boxes_.begin(), boxes_.end(), covered)) return false;
  std::erase_if(boxes_, [&](const auto& other) { return nowhere_worse(box, other); });
  boxes_.push_back(std::move(box));
  return true;
}

}  // namespace paretod
