#pragma once
// The covariance matrix adaptation evolution strategy, as a value: N. Hansen, "The CMA evolution
// strategy: a tutorial", arXiv 1604.00772v2, figure 6 and table 1 (active weights, cumulative
// step-size adaptation, rank-one and rank-mu updates).  It asks nobody for evaluations: its owner
// samples, evaluates and updates, generation by generation.  Copyable; not thread-safe.
//
// With Covariance::diagonal it is the separable CMA-ES (Ros and Hansen, PPSN 2008): O(n) per
// sample, for many or independent coordinates.
//
//   CmaEs search(start, 0.1);
//   std::vector<CmaEs::Scored> generation;
//   for (i < search.population()) { x = search.sample(rng); generation.push_back({x, f(x)}); }
//   search.update(std::move(generation));

#include <cstddef>
#include <utility>
#include <vector>

#include "optimizers/core/rng.hpp"

namespace paretod {

class CmaEs {
 public:
  struct Scored {
    std::vector<double> x;
    double score;  ///< minimised; +infinity for a failure
    /// Not from the present distribution: its step is cut to a usual length before it counts, as
    /// Hansen's "Injecting external solutions into CMA-ES" does, arXiv 1110.4181, equation 4.
    bool stale = false;
  };
  enum class Covariance { full, diagonal };
  /// How slowly the step size follows its path.  The tutorial's damping lets populations larger
  /// than usual shrink it too early; `strong` grows with them sooner, as that of pycma 4.5 does.
  enum class Damping { tutorial, strong };
  struct Settings {
    std::size_t population = 0;  ///< at least 4; 0: the tutorial's 4 + 3 ln n
    Covariance covariance = Covariance::full;
    bool active = true;  ///< if not, the worse half has no weight, so its order does not matter
    Damping damping = Damping::tutorial;
    /// Full covariance only: a scale per coordinate is learnt beside it, at the faster pace that n
    /// numbers allow, and slowed where the axes of the distribution are not those of the
    /// coordinates (dd-CMA-ES: Akimoto and Hansen, Evolutionary Computation 28(3), 2020).
    bool accelerated = false;
    /// Standard deviations of the coordinates at first, in units of sigma; empty: 1 each.
    std::vector<double> deviations = {};
  };

  /// Requires a start of at least one dimension and sigma > 0.
  CmaEs(std::vector<double> start, double sigma, const Settings& settings);
  CmaEs(std::vector<double> start, double sigma);

  [[nodiscard]] std::size_t dimension() const { return mean_.size(); }
  [[nodiscard]] std::size_t population() const { return weights_.size(); }
  /// One draw from the present distribution: exactly dimension() normals.
  [[nodiscard]] std::vector<double> sample(Rng& rng) const;
  /// One generation: exactly population() points, which may differ a little from what was sampled
  /// (repaired to bounds).  Equal scores keep their order.
  void update(std::vector<Scored> generation);

  [[nodiscard]] const std::vector<double>& mean() const { return mean_; }
  /// Moves the distribution without changing its shape (a mean that left the bounds, say).
  void set_mean(std::vector<double> mean) { mean_ = std::move(mean); }
  [[nodiscard]] double sigma() const { return sigma_; }
  /// Changes the size of the distribution, not its shape.
  void set_sigma(double sigma) { sigma_ = sigma; }
  /// Ratio of the largest to the smallest standard deviation of the distribution's axes; if it is
  /// accelerated, with the scales of the coordinates taken out.
  [[nodiscard]] double axis_ratio() const;
  /// Standard deviation of one coordinate.
  [[nodiscard]] double deviation(std::size_t i) const;
  /// The evolution path of one coordinate, in the coordinate's own unit: how far it drifts.
  [[nodiscard]] double drift(std::size_t i) const {
    return sigma_ * stretch_[i] * path_covariance_[i];
  }
  /// Whether steps have become too small for the mean's precision: a fifth of a standard deviation
  /// along some coordinate, or a tenth along one axis of the distribution (another one each
  /// generation), changes nothing.
  [[nodiscard]] bool exhausted() const;

 private:
  [[nodiscard]] bool diagonal() const { return basis_.empty(); }
  void control_steps(Damping damping);
  void accelerate();
  void decompose();

  // Matrices are dense, column-major, n x n; the diagonal mode keeps the diagonal of the covariance
  // alone, and no basis.  The covariance is that of steps divided by sigma and stretch.
  std::vector<double> mean_;
  double sigma_;
  std::vector<double> weights_;  // by rank; negative for the worse half
  double mu_eff_ = 0;
  double rate_sigma_ = 0, damping_ = 0, rate_path_ = 0, rate_one_ = 0, rate_mu_ = 0;
  double expected_norm_ = 0;
  std::vector<double> path_sigma_, path_covariance_;
  std::vector<double> covariance_;
  std::vector<double> basis_;    // eigenvectors of covariance_ as of the last decomposition
  std::vector<double> scales_;   // square roots of its eigenvalues
  std::vector<double> stretch_;  // of each coordinate; ones where nothing is accelerated
  bool accelerated_ = false;
  double stretch_rate_one_ = 0, stretch_rate_mu_ = 0, stretch_rate_path_ = 0;
  double stretch_damping_ = 1;  // the larger, the more coordinates depend on each other
  std::vector<double> path_stretch_;
  double path_stretch_variance_ = 0;  // that random selection would give it
  std::size_t generation_ = 0;
  std::size_t decomposed_at_ = 0;
};

}  // namespace paretod
