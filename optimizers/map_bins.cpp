#include "optimizers/map_bins.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

constexpr std::uint64_t bin_stream = 401;
constexpr double spread_weight = 0.5, temperature = 0.07;
constexpr int deletions = 30;
constexpr double kept_share = 0.8;

std::size_t slices_for(std::size_t n) {
  return n < 4 ? 4 : 2;
}

/// Of shares of the box's widths.  Mended: an angle of exactly pi/2, as of a unit vector, belongs
/// to the last slice.
std::size_t bin_of(const std::vector<double>& unit) {
  const std::size_t n = unit.size(), slices = slices_for(n);
  std::size_t bin = 0;
  for (std::size_t k = 0; k + 1 < n; ++k) {
    double rest = 0;
    for (std::size_t j = k + 1; j < n; ++j) rest += unit[j] * unit[j];
    const double angle = std::atan2(std::sqrt(rest), unit[k]);
    const auto slice = static_cast<std::size_t>(
        std::max(0.0, angle / (std::numbers::pi / 2) * static_cast<double>(slices)));
    bin = bin * slices + std::min(slice, slices - 1);
  }
  return bin;
}

std::vector<double> point_in(std::size_t bin, std::size_t n, Rng& rng) {
  const std::size_t slices = slices_for(n);
  std::vector<std::size_t> slice(n - 1);
  for (std::size_t k = n - 1; k-- > 0; bin /= slices) slice[k] = bin % slices;
  std::vector<double> unit(n);
  double radius = rng.uniform(0.2, 0.8);
  for (std::size_t k = 0; k + 1 < n; ++k) {
    const double angle = (static_cast<double>(slice[k]) + rng.uniform()) * (std::numbers::pi / 2) /
                         static_cast<double>(slices);
    unit[k] = radius * std::cos(angle);
    radius *= std::sin(angle);
  }
  unit[n - 1] = radius;
  return unit;
}

}  // namespace

std::vector<std::vector<double>> bin_samples(const MapModel& model, std::size_t objective,
                                             std::size_t count, std::uint64_t seed,
                                             std::uint64_t turn) {
  const std::size_t n = model.space().dimension();
  std::size_t bins = 1;
  for (std::size_t k = 0; k + 1 < n; ++k) bins *= slices_for(n);
  // Mended: residuals of the present surrogate at all points so far, of every batch.
  std::vector<std::vector<double>> squares(bins);
  for (const auto& [x, residual] : model.residuals(objective)) {
    std::vector<double> unit;
    for (const double value : x) unit.push_back((value + 1) / 2);
    squares[bin_of(unit)].push_back(residual * residual);
  }
  Rng rng(seed, bin_stream, static_cast<std::uint32_t>(turn));
  std::vector<double> scores(bins, 0);
  double best = 0;
  for (std::size_t b = 0; b < bins; ++b) {
    if (squares[b].empty()) continue;
    double mean = 0;
    for (const double r : squares[b]) mean += r / static_cast<double>(squares[b].size());
    // Mended: each deletion is from the whole bin, not from what the last one left.
    double of_means = 0, of_squares = 0;
    for (int deletion = 0; deletion < deletions; ++deletion) {
      double sum = 0, kept = 0;
      for (const double r : squares[b]) {
        if (!rng.bernoulli(kept_share)) continue;
        sum += r;
        kept += 1;
      }
      const double left = kept > 0 ? sum / kept : mean;
      of_means += left / deletions;
      of_squares += left * left / deletions;
    }
    scores[b] = mean + spread_weight * std::sqrt(std::max(0.0, of_squares - of_means * of_means));
    best = std::max(best, scores[b]);
  }
  // Mended: a bin without points counts as the worst fitted one, and is drawn from.  Mended:
  // scores are in parts of the greatest, since squared errors of a thousandth make the published
  // softmax uniform.
  std::vector<double> cumulative;
  double total = 0;
  for (std::size_t b = 0; b < bins; ++b) {
    const double score = squares[b].empty() || !(best > 0) ? 1 : scores[b] / best;
    cumulative.push_back(total += std::exp((score - 1) / temperature));
  }
  std::vector<std::vector<double>> points;
  while (points.size() < count) {
    const double draw = rng.uniform() * total;
    const auto found = std::upper_bound(cumulative.begin(), cumulative.end(), draw);
    const auto bin = std::min(static_cast<std::size_t>(found - cumulative.begin()), bins - 1);
    std::vector<double> x = point_in(bin, n, rng);
    for (double& value : x) value = 2 * value - 1;
    points.push_back(std::move(x));
  }
  return points;
}

}  // namespace paretod
