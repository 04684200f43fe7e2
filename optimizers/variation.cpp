#include "optimizers/variation.hpp"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

namespace paretod {
namespace {

/// Everything of `a` in a random stretch, the rest in the order of `b`.
void cross_orders(std::span<const double> a, std::span<const double> b, std::span<double> child,
                  Rng& rng) {
  std::size_t first = rng.below(a.size());
  std::size_t last = rng.below(a.size());
  if (first > last) std::swap(first, last);
  std::vector<bool> taken(a.size());
  for (std::size_t i = first; i <= last; ++i) {
    child[i] = a[i];
    taken[static_cast<std::size_t>(a[i])] = true;
  }
  std::size_t place = 0;
  for (const double item : b) {
    if (taken[static_cast<std::size_t>(item)]) continue;
    if (place == first) place = last + 1;
    child[place++] = item;
  }
}

void mutate_order(std::span<double> block, double probability, Rng& rng) {
  for (std::size_t i = 0; i < block.size(); ++i) {
    if (!rng.bernoulli(probability)) continue;
    const std::size_t j = rng.below(block.size());
    if (rng.bernoulli(0.5)) {
      std::swap(block[i], block[j]);
    } else if (i < j) {
      std::rotate(block.begin() + i, block.begin() + i + 1, block.begin() + j + 1);
    } else {
      std::rotate(block.begin() + j, block.begin() + i, block.begin() + i + 1);
    }
  }
}

/// Another value of a whole coordinate, each equally likely.
double other_value(const Coordinate& c, double x, Rng& rng) {
  const auto others = static_cast<std::uint64_t>(c.sampling_high - c.sampling_low);
  if (others == 0) return x;
  const double y = c.sampling_low + static_cast<double>(rng.below(others));
  return y < x ? y : y + 1;
}

bool discrete(const Coordinate& c) {
  return c.whole && (!c.ordered || c.sampling_high - c.sampling_low <= 1);
}

}  // namespace

Variation::Variation(const SearchSpace& space, VariationRates rates)
    : space_(space), rates_(rates), mutation_probability_(rates.mutation_probability) {
  std::size_t free = 0;
  for (const Coordinate& c : space.coordinates()) {
    free += c.sampling_low < c.sampling_high ? 1 : 0;
    if (c.log_scale) {
      scales_.push_back({std::log(c.sampling_low), std::log(c.sampling_high)});
    } else {
      // Half a step wider, so that rounding gives every whole number the same share.
      const double margin = c.whole ? 0.499999 : 0;
      scales_.push_back({c.sampling_low - margin, c.sampling_high + margin});
    }
  }
  if (mutation_probability_ <= 0) {
    mutation_probability_ = 1.0 / static_cast<double>(std::max<std::size_t>(free, 1));
  }
}

double Variation::encode(std::size_t i, double x) const {
  return space_.coordinates()[i].log_scale ? std::log(x) : x;
}

double Variation::decode(std::size_t i, double x) const {
  return space_.coordinates()[i].log_scale ? std::exp(x) : x;
}

double Variation::blend(std::size_t i, double a, double b, Rng& rng) const {
  double low = encode(i, std::min(a, b));
  double high = encode(i, std::max(a, b));
  // Outside the sampling box (affine coefficients may be) there is room as far as the parents go.
  const double floor = std::min(scales_[i].low, low);
  const double ceiling = std::max(scales_[i].high, high);
  const double gap = high - low;
  if (!(gap > 1e-14 * (ceiling - floor))) return a;
  const double u = rng.uniform();
  const bool upper = rng.bernoulli(0.5);
  const double room = upper ? ceiling - high : low - floor;
  const double power = 1 / (rates_.crossover_index + 1);
  const double alpha = 2 - std::pow(1 + 2 * room / gap, -(rates_.crossover_index + 1));
  const double spread =
      u <= 1 / alpha ? std::pow(u * alpha, power) : std::pow(1 / (2 - u * alpha), power);
  const double middle = (low + high) / 2;
  const double x = upper ? middle + spread * gap / 2 : middle - spread * gap / 2;
  return decode(i, std::clamp(x, floor, ceiling));
}

double Variation::perturb(std::size_t i, double x, Rng& rng) const {
  const double y = encode(i, x);
  const double floor = std::min(scales_[i].low, y);
  const double ceiling = std::max(scales_[i].high, y);
  const double range = ceiling - floor;
  if (!(range > 0)) return x;
  const double u = rng.uniform();
  const double index = rates_.mutation_index + 1;
  const double below = (y - floor) / range;
  const double above = (ceiling - y) / range;
  const double step =
      u < 0.5 ? std::pow(2 * u + (1 - 2 * u) * std::pow(1 - below, index), 1 / index) - 1
              : 1 - std::pow(2 * (1 - u) + 2 * (u - 0.5) * std::pow(1 - above, index), 1 / index);
  return decode(i, std::clamp(y + step * range, floor, ceiling));
}

Point Variation::child(const Point& a, const Point& b, Rng& rng) const {
  Point child = a;
  vary_others(space_.parameters().size(), a, b, child, rng);
  return space_.repair(std::move(child));
}

void Variation::vary_others(std::size_t kept, const Point& a, const Point& b, Point& child,
                            Rng& rng) const {
  const std::size_t parameters = space_.parameters().size();
  if (rng.bernoulli(rates_.crossover_probability)) {
    for (std::size_t p = 0; p < parameters; ++p) {
      if (p != kept) cross(p, a, b, child, rng);
    }
  }
  for (std::size_t p = 0; p < parameters; ++p) {
    if (p != kept) mutate(p, child, rng);
  }
}

void Variation::cross(std::size_t p, const Point& a, const Point& b, Point& child, Rng& rng) const {
  const Parameter& parameter = space_.parameters()[p];
  const std::size_t offset = space_.offset(p);
  const std::size_t width = space_.width(p);
  if (parameter.type == ParameterType::permutation) {
    if (!rng.bernoulli(0.5)) return;
    cross_orders(std::span(a).subspan(offset, width), std::span(b).subspan(offset, width),
                 std::span(child).subspan(offset, width), rng);
    return;
  }
  if (parameter.type == ParameterType::schedule) {
    cross_schedules(parameter, offset, a, b, child, rng);
    return;
  }
  for (std::size_t i = offset; i < offset + width; ++i) {
    if (!rng.bernoulli(0.5)) continue;
    if (discrete(space_.coordinates()[i])) {
      child[i] = b[i];
    } else if (a[i] != b[i]) {
      child[i] = blend(i, a[i], b[i], rng);
    }
  }
}

void Variation::mutate(std::size_t p, Point& child, Rng& rng) const {
  const Parameter& parameter = space_.parameters()[p];
  const std::size_t offset = space_.offset(p);
  const std::size_t width = space_.width(p);
  if (parameter.type == ParameterType::permutation) {
    mutate_order(std::span(child).subspan(offset, width), mutation_probability_, rng);
    return;
  }
  if (parameter.type == ParameterType::schedule) {
    mutate_schedule(parameter, offset, child, rng);
    return;
  }
  for (std::size_t i = offset; i < offset + width; ++i) {
    if (!rng.bernoulli(mutation_probability_)) continue;
    const Coordinate& c = space_.coordinates()[i];
    if (discrete(c)) {
      child[i] = other_value(c, child[i], rng);
    } else if (parameter.type == ParameterType::simplex) {
      // Mass from here to another share, or the other way round.
      std::size_t from = i;
      std::size_t to = offset + rng.below(width);
      if (rng.bernoulli(0.5)) std::swap(from, to);
      const double moved = child[from] * rng.uniform();
      child[from] -= moved;
      child[to] += moved;
    } else {
      const double before = child[i];
      child[i] = perturb(i, before, rng);
      // A small step of a whole number would round to none.
      if (c.whole && std::nearbyint(child[i]) == before) {
        child[i] = before + (rng.bernoulli(0.5) ? 1 : -1);
      }
    }
  }
}

void Variation::cross_schedules(const Parameter& parameter, std::size_t offset, const Point& a,
                                const Point& b, Point& child, Rng& rng) const {
  const std::size_t width = parameter.step_width();
  const double cut = rng.uniform(parameter.low, parameter.high);
  std::vector<std::span<const double>> steps;
  const auto take = [&](const Point& parent, bool early) {
    const auto count = static_cast<std::size_t>(parent[offset]);
    for (std::size_t s = 0; s < count; ++s) {
      const auto step = std::span(parent).subspan(offset + 1 + s * width, width);
      if ((step[0] <= cut) == early) steps.push_back(step);
    }
  };
  take(a, true);
  take(b, false);
  // Too few or too many: the first parent stays.
  if (steps.size() < parameter.least || steps.size() > parameter.most) return;
  child[offset] = static_cast<double>(steps.size());
  for (std::size_t s = 0; s < steps.size(); ++s) {
    std::copy(steps[s].begin(), steps[s].end(), child.begin() + offset + 1 + s * width);
  }
}

void Variation::mutate_schedule(const Parameter& parameter, std::size_t offset, Point& child,
                                Rng& rng) const {
  const std::size_t width = parameter.step_width();
  auto count = static_cast<std::size_t>(child[offset]);
  const auto step_at = [&](std::size_t s) {
    return std::span(child).subspan(offset + 1 + s * width, width);
  };
  const double range = parameter.high - parameter.low;
  // About one change per child, whatever the number of steps and bits.
  const double per_step = 1 / static_cast<double>(count);
  for (std::size_t s = 0; s < count; ++s) {
    const auto step = step_at(s);
    if (rng.bernoulli(per_step)) {
      // Mostly near by; a uniform jump alone stays far above the optimum (autodiffusion.md 5).
      step[0] = rng.bernoulli(0.8) ? step[0] + 0.03 * range * rng.normal()
                                   : rng.uniform(parameter.low, parameter.high);
    }
    for (std::size_t i = 1; i < width; ++i) {
      if (!rng.bernoulli(per_step / static_cast<double>(width - 1))) continue;
      const std::size_t coordinate = offset + 1 + s * width + i;
      step[i] = other_value(space_.coordinates()[coordinate], step[i], rng);
    }
  }
  if (parameter.least == parameter.most || !rng.bernoulli(0.2)) return;
  const bool grow = count == parameter.least || (count < parameter.most && rng.bernoulli(0.5));
  if (grow) {
    const auto added = step_at(count++);
    const auto like = step_at(rng.below(count - 1));
    std::copy(like.begin(), like.end(), added.begin());
    added[0] = rng.uniform(parameter.low, parameter.high);
  } else {
    const auto gone = step_at(rng.below(count));
    const auto last = step_at(--count);
    std::copy(last.begin(), last.end(), gone.begin());
  }
  child[offset] = static_cast<double>(count);
}

}  // namespace paretod
