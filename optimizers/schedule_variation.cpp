#include "optimizers/schedule_variation.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace paretod {
namespace {

// Shifts grow by a success and shrink by a failure so that they stay the same at one success in
// five.
constexpr double growth = 0.2;
constexpr double decay = 0.05;
constexpr double first_shift = 0.3;
constexpr double largest_shift = 1;
constexpr double smallest_shift = 1e-3;
/// Credit is a moving average; what never succeeds is still tried.
constexpr double memory = 0.97;
constexpr double first_credit = 0.2;
constexpr double least_credit = 0.03;
/// Weight of the second parent: beyond 0 and 1 the line through both goes on.
constexpr double least_weight = -0.25;
constexpr double most_weight = 1.25;
constexpr double shift_after_blend = 0.7;

std::size_t index(ScheduleMove move) {
  return static_cast<std::size_t>(move);
}

}  // namespace

ScheduleVariation::ScheduleVariation(const Parameter& schedule, const ScheduleCosts& costs)
    : schedule_(schedule), costs_(costs) {
  credit_.fill(first_credit);
  size_.fill(first_shift);
}

bool ScheduleVariation::possible(ScheduleMove move, std::size_t steps, bool drops) const {
  switch (move) {
    case ScheduleMove::shift_one:
    case ScheduleMove::shift_all:
    case ScheduleMove::jump:
    case ScheduleMove::blend:
    case ScheduleMove::splice:
      return true;
    case ScheduleMove::insert:
      return steps < schedule_.most;
    case ScheduleMove::remove:
      return steps > schedule_.least;
    case ScheduleMove::resample:
      return schedule_.least < schedule_.most;
    case ScheduleMove::choose:
      return schedule_.choices.size() > 1;
    default:
      return drops && !schedule_.mask.empty();
  }
}

ScheduleMove ScheduleVariation::draw(const Steps& a, bool drops, Rng& rng) const {
  std::array<double, schedule_moves> weights{};
  double sum = 0;
  for (std::size_t m = 0; m < schedule_moves; ++m) {
    if (!possible(static_cast<ScheduleMove>(m), a.size(), drops)) continue;
    weights[m] = std::max(credit_[m], least_credit);
    sum += weights[m];
  }
  double at = sum * rng.uniform();
  std::size_t chosen = 0;
  for (std::size_t m = 0; m < schedule_moves; ++m) {
    if (weights[m] == 0) continue;
    chosen = m;
    at -= weights[m];
    if (at < 0) break;
  }
  return static_cast<ScheduleMove>(chosen);
}

ScheduleVariation::Child ScheduleVariation::child(const Steps& a, const Steps& b, bool drops,
                                                  Rng& rng) const {
  Child made{a, draw(a, drops, rng)};
  apply(made.move, made.steps, b, rng);
  if (made.move == ScheduleMove::blend && rng.bernoulli(shift_after_blend)) {
    apply(ScheduleMove::shift_one, made.steps, b, rng);
  }
  std::sort(made.steps.begin(), made.steps.end(),
            [](const Step& x, const Step& y) { return x.at < y.at; });
  fit_to_costs(schedule_, costs_, made.steps, rng);
  return made;
}

void ScheduleVariation::apply(ScheduleMove move, Steps& steps, const Steps& other, Rng& rng) const {
  switch (move) {
    case ScheduleMove::shift_one:
      shift(steps, rng.below(steps.size()), size_[index(move)], rng);
      return;
    case ScheduleMove::shift_all: {
      Steps moved = steps;
      for (std::size_t i = 0; i < steps.size(); ++i) {
        Steps alone = steps;
        shift(alone, i, size_[index(move)], rng);
        moved[i].at = alone[i].at;
      }
      steps = std::move(moved);
      return;
    }
    case ScheduleMove::jump:
      steps[rng.below(steps.size())].at = rng.uniform(schedule_.low, schedule_.high);
      return;
    case ScheduleMove::blend: {
      const Steps aligned = resampled(other, steps.size(), schedule_.low, schedule_.high);
      const double weight = rng.uniform(least_weight, most_weight);
      for (std::size_t i = 0; i < steps.size(); ++i) {
        steps[i].at = std::clamp(steps[i].at + weight * (aligned[i].at - steps[i].at),
                                 schedule_.low, schedule_.high);
      }
      return;
    }
    case ScheduleMove::splice:
      return splice(steps, other, rng);
    case ScheduleMove::insert:
      return insert(steps, rng);
    case ScheduleMove::remove:
      steps.erase(steps.begin() + static_cast<std::ptrdiff_t>(rng.below(steps.size())));
      return;
    case ScheduleMove::resample:
      return resample(steps, rng);
    case ScheduleMove::choose: {
      Step& step = steps[rng.below(steps.size())];
      const auto drawn = static_cast<double>(rng.below(schedule_.choices.size() - 1));
      step.choice = drawn < step.choice ? drawn : drawn + 1;
      return;
    }
    default:
      return change_drops(move, steps, other, rng);
  }
}

void ScheduleVariation::shift(Steps& steps, std::size_t i, double size, Rng& rng) const {
  const double before = i == 0 ? schedule_.low : steps[i - 1].at;
  const double after = i + 1 == steps.size() ? schedule_.high : steps[i + 1].at;
  double gap = (after - before) / 2;
  if (i == 0 || i + 1 == steps.size()) {
    // The bounds may be far away from where the steps are.
    const double inner = i == 0 ? after - steps[i].at : steps[i].at - before;
    gap = std::min(after - before, inner);
  }
  double moved = size * gap * rng.normal();
  if (schedule_.whole && std::abs(moved) < 1) moved = moved < 0 ? -1 : 1;
  steps[i].at = std::clamp(steps[i].at + moved, schedule_.low, schedule_.high);
}

void ScheduleVariation::insert(Steps& steps, Rng& rng) const {
  // Into the gap before step i, or behind the last: wide ones more often.
  const double place = rng.uniform(schedule_.low, schedule_.high);
  const auto after =
      std::find_if(steps.begin(), steps.end(), [&](const Step& step) { return step.at > place; });
  Step step = after == steps.end() || (after != steps.begin() && rng.bernoulli(0.5)) ? *(after - 1)
                                                                                     : *after;
  step.at = place;
  steps.insert(after, std::move(step));
}

void ScheduleVariation::resample(Steps& steps, Rng& rng) const {
  // Mostly one step more or less.
  std::size_t change = 1;
  while (rng.bernoulli(0.3)) ++change;
  std::size_t count = steps.size();
  const bool grow = count == schedule_.least || (count < schedule_.most && rng.bernoulli(0.5));
  count = grow ? std::min(count + change, schedule_.most)
               : count - std::min(change, count - schedule_.least);
  steps = resampled(steps, count, schedule_.low, schedule_.high);
}

void ScheduleVariation::splice(Steps& steps, const Steps& other, Rng& rng) const {
  const double cut = rng.uniform(std::min(steps.front().at, other.front().at),
                                 std::max(steps.back().at, other.back().at));
  Steps made;
  for (const Step& step : steps) {
    if (step.at <= cut) made.push_back(step);
  }
  for (const Step& step : other) {
    if (step.at > cut) made.push_back(step);
  }
  if (made.size() >= schedule_.least && made.size() <= schedule_.most) steps = std::move(made);
}

void ScheduleVariation::change_drops(ScheduleMove move, Steps& steps, const Steps& other,
                                     Rng& rng) const {
  const std::size_t layers = schedule_.mask.size();
  Step& step = steps[rng.below(steps.size())];
  const std::size_t layer = rng.below(layers);
  switch (move) {
    case ScheduleMove::flip:
      step.dropped[layer] = !step.dropped[layer];
      while (rng.bernoulli(0.3)) {
        const std::size_t further = rng.below(layers);
        step.dropped[further] = !step.dropped[further];
      }
      return;
    case ScheduleMove::swap: {
      // With another layer of the step, or the layer of another step, whose bit differs.
      Step& second = rng.bernoulli(0.5) ? step : steps[rng.below(steps.size())];
      for (std::size_t i = 1; i <= layers; ++i) {
        const std::size_t candidate = (layer + i) % layers;
        if (second.dropped[candidate] == step.dropped[layer]) continue;
        const bool kept = step.dropped[layer];
        step.dropped[layer] = second.dropped[candidate];
        second.dropped[candidate] = kept;
        return;
      }
      return;
    }
    case ScheduleMove::clear: {
      const bool all = rng.bernoulli(0.5);
      for (Step& s : steps) {
        if (all || &s == &step) s.dropped.assign(layers, false);
      }
      return;
    }
    case ScheduleMove::sweep: {
      // Which end of the schedule can do without a layer is for the search to find out.
      const bool dropped = !step.dropped[layer];
      const bool later = rng.bernoulli(0.5);
      for (Step& s : steps) {
        if (&s == &step || (s.at > step.at) == later) s.dropped[layer] = dropped;
      }
      return;
    }
    default: {  // inherit
      const Steps aligned = resampled(other, steps.size(), schedule_.low, schedule_.high);
      const std::size_t from = rng.below(steps.size());
      for (std::size_t i = from; i < steps.size(); ++i) steps[i].dropped = aligned[i].dropped;
      return;
    }
  }
}

void ScheduleVariation::learn(ScheduleMove move, bool success) {
  double& credit = credit_[index(move)];
  credit = memory * credit + (1 - memory) * (success ? 1 : 0);
  double& size = size_[index(move)];
  size = std::clamp(size * std::exp(success ? growth : -decay), smallest_shift, largest_shift);
}

double ScheduleVariation::rate(ScheduleMove move) const {
  return credit_[index(move)];
}

}  // namespace paretod
