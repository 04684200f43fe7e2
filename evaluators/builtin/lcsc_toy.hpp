#pragma once
// A toy of combining saved checkpoints (LCSC, Liu et al., arXiv 2404.02241), for which the best
// combination is known: quadratic loss in 400 dimensions, curvatures from 1e-4 to 1 evenly in
// log, trained by noisy SGD (rate 0.3, gradient noise 0.3*sqrt(curvature)) from a random start;
// after 3000 steps K checkpoints are saved, 100 steps apart.  Immutable; any thread.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace paretod {

class LcscToy {
 public:
  static constexpr std::size_t parameters = 400;
  static constexpr std::size_t most_checkpoints = 300;
  static constexpr double burn_in = 3000;
  static constexpr double interval = 100;

  /// Trains once: about 3000 + 100*checkpoints steps (K = 200: a third of a second).  Requires
  /// 2 <= checkpoints <= most_checkpoints.
  LcscToy(std::size_t checkpoints, std::uint64_t seed);

  [[nodiscard]] std::size_t checkpoints() const { return size_; }
  /// Exact loss of the combination with these coefficients, one per checkpoint.
  [[nodiscard]] double loss(std::span<const double> coefficients) const;
  /// Least loss of any combination whose coefficients sum to one.
  [[nodiscard]] double optimum() const { return optimum_; }
  /// Least loss of what people use: the last checkpoint, uniform means of the last quarter, half
  /// and all, and ten exponential moving averages, with half-lives from one interval to the whole
  /// window.
  [[nodiscard]] double best_seed() const { return best_seed_; }
  /// Share of the gap between best seed and optimum that a loss closes; 1 at the optimum.
  [[nodiscard]] double gap_closed(double loss) const {
    return (best_seed_ - loss) / (best_seed_ - optimum_);
  }

 private:
  void factorise(std::vector<double> columns);
  void find_optimum();
  void find_best_seed();

  std::size_t size_;
  /// Upper triangle R of the QR factors of the curvature-scaled checkpoints, row by row: the loss
  /// is |R a|^2 / 2, which costs K^2 instead of 400 K and cancels no large terms.
  std::vector<double> triangle_;
  double optimum_ = 0;
  double best_seed_ = 0;
};

}  // namespace paretod
