#pragma once
// How much further points would add to the hypervolume of a set: what a greedy choice of points for
// measurement maximises.  Exact for up to three objectives; above, a share of fixed, evenly random
// samples of the box, which ranks candidates well and costs no more with many objectives.

#include <cstdint>
#include <span>
#include <vector>

namespace paretod {

/// Objectives are minimised and scaled: the box reaches from 0 to `reference` in each.
class HypervolumeGain {
 public:
  HypervolumeGain(std::size_t objectives, double reference, std::uint64_t seed);
  void add(std::span<const double> y);
  [[nodiscard]] double gain(std::span<const double> y) const { return gain(y, 0, 1); }
  /// The same by one of `parts` of the samples, where there are any: the average over all parts,
  /// each with a y of its own, costs what one gain costs.
  [[nodiscard]] double gain(std::span<const double> y, std::size_t part, std::size_t parts) const;
  /// Of all that were added.
  [[nodiscard]] double volume() const { return volume_; }

 private:
  [[nodiscard]] std::vector<double> clipped(std::span<const double> y) const;

  std::size_t objectives_;
  double reference_;
  std::vector<std::vector<double>> points_;  // exact: all; within the box
  double volume_ = 0;
  std::vector<double> samples_;  // sampled: [count][m], those that no point dominates yet
};

}  // namespace paretod
