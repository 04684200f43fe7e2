#include "optimizers/lcsc_seeds.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

namespace paretod {
namespace {

constexpr int projections = 10;

class Collector {
 public:
  explicit Collector(const SearchSpace& space) : space_(space) {}

  std::size_t add(std::string name, const std::vector<double>& coefficients, bool ema) {
    Point point(space_.dimension());
    space_.set_coefficients(0, coefficients, point);
    const auto same = std::find_if(seeds_.begin(), seeds_.end(),
                                   [&](const LcscSeed& seed) { return seed.point == point; });
    if (same != seeds_.end()) {
      same->ema = same->ema || ema;
      return static_cast<std::size_t>(same - seeds_.begin());
    }
    seeds_.push_back({std::move(name), std::move(point), ema});
    return seeds_.size() - 1;
  }
  std::vector<LcscSeed> take() { return std::move(seeds_); }

 private:
  const SearchSpace& space_;
  std::vector<LcscSeed> seeds_;
};

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

}  // namespace

std::vector<double> ema_projection(const std::vector<double>& positions, double half_life) {
  const auto kept = [&](std::size_t k) {
    return std::exp2((positions[k] - positions.back()) / half_life);
  };
  std::vector<double> coefficients(positions.size());
  for (std::size_t k = 0; k < positions.size(); ++k) {
    coefficients[k] = k == 0 ? kept(0) : kept(k) - kept(k - 1);
  }
  return coefficients;
}

LcscSeeds lcsc_seeds(const SearchSpace& space) {
  const Parameter& parameter = space.parameters().front();
  std::vector<std::size_t> columns;  // those saved along the run
  std::vector<double> positions;
  for (std::size_t k = 0; k < parameter.size; ++k) {
    if (!parameter.positions.empty() && !parameter.positions[k]) continue;
    columns.push_back(k);
    positions.push_back(parameter.positions.empty() ? static_cast<double>(k)
                                                    : *parameter.positions[k]);
  }
  const auto one_hot = [&](std::size_t column) {
    std::vector<double> coefficients(parameter.size, 0.0);
    coefficients[column] = 1;
    return coefficients;
  };
  const auto mean_of_last = [&](std::size_t count) {
    std::vector<double> coefficients(parameter.size, 0.0);
    for (std::size_t i = columns.size() - count; i < columns.size(); ++i) {
      coefficients[columns[i]] = 1 / static_cast<double>(count);
    }
    return coefficients;
  };

  Collector collector(space);
  LcscSeeds seeds;
  seeds.last = collector.add("last", one_hot(parameter.reference()), false);
  if (columns.empty()) {
    seeds.uniform = collector.add(
        "uniform", std::vector<double>(parameter.size, 1 / static_cast<double>(parameter.size)),
        false);
  } else {
    seeds.uniform = collector.add("uniform", mean_of_last(columns.size()), false);
    for (const std::size_t part : {std::size_t{2}, std::size_t{4}}) {
      const std::size_t count = std::max<std::size_t>(columns.size() / part, 1);
      collector.add("mean of last " + std::to_string(count), mean_of_last(count), false);
    }
  }
  if (columns.size() > 1) {
    const double window = positions.back() - positions.front();
    const double interval = window / static_cast<double>(columns.size() - 1);
    for (int i = 0; i < projections; ++i) {
      const double half_life = interval * std::pow(window / interval, i / (projections - 1.0));
      const std::vector<double> weights = ema_projection(positions, half_life);
      std::vector<double> coefficients(parameter.size, 0.0);
      for (std::size_t k = 0; k < columns.size(); ++k) coefficients[columns[k]] = weights[k];
      collector.add("ema half-life " + number(half_life), coefficients, true);
    }
  }
  for (std::size_t k = 0; k < parameter.size; ++k) {
    if (parameter.positions.empty() || parameter.positions[k]) continue;
    collector.add(parameter.labels.empty() ? "column " + std::to_string(k) : parameter.labels[k],
                  one_hot(k), true);
  }
  seeds.all = collector.take();
  return seeds;
}

}  // namespace paretod
