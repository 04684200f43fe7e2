#include "optimizers/hypervolume_gain.hpp"

#include <algorithm>
#include <cmath>

#include "optimizers/core/front.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

constexpr std::size_t exact_objectives = 3;
constexpr std::size_t sample_count = 16'384;

bool covers(std::span<const double> y, const double* sample) {
  for (std::size_t k = 0; k < y.size(); ++k) {
    if (y[k] > sample[k]) return false;
  }
  return true;
}

}  // namespace

HypervolumeGain::HypervolumeGain(std::size_t objectives, double reference, std::uint64_t seed)
    : objectives_(objectives), reference_(reference) {
  if (objectives <= exact_objectives) return;
  Rng rng(seed);
  samples_.resize(sample_count * objectives);
  for (double& x : samples_) x = rng.uniform(0, reference);
}

std::vector<double> HypervolumeGain::clipped(std::span<const double> y) const {
  std::vector<double> inside(y.begin(), y.end());
  for (double& value : inside) value = std::max(value, 0.0);
  return inside;
}

void HypervolumeGain::add(std::span<const double> y) {
  for (const double value : y) {
    if (!(value < reference_)) return;
  }
  volume_ += gain(y);
  if (objectives_ <= exact_objectives) {
    points_.push_back(clipped(y));
    return;
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i < samples_.size(); i += objectives_) {
    if (covers(y, &samples_[i])) continue;
    std::copy_n(&samples_[i], objectives_, &samples_[kept]);
    kept += objectives_;
  }
  samples_.resize(kept);
}

double HypervolumeGain::gain(std::span<const double> y, std::size_t part, std::size_t parts) const {
  for (const double value : y) {
    if (!(value < reference_)) return 0;
  }
  if (objectives_ <= exact_objectives) {
    std::vector<std::vector<double>> points = points_;
    points.push_back(clipped(y));
    return std::max(
        hypervolume(std::move(points), std::vector<double>(objectives_, reference_)) - volume_,
        0.0);
  }
  std::size_t covered = 0;
  for (std::size_t i = part * objectives_; i < samples_.size(); i += parts * objectives_) {
    covered += covers(y, &samples_[i]) ? 1 : 0;
  }
  return static_cast<double>(covered * parts) *
         std::pow(reference_, static_cast<double>(objectives_)) / static_cast<double>(sample_count);
}

}  // namespace paretod
