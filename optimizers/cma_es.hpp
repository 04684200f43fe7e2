#pragma once
// The covariance matrix adaptation evolution strategy, as a value: N. Hansen, "The CMA evolution
// strategy: a tutorial", arXiv 1604.00772v2, figure 6 and table 1 (active weights, cumulative
// step-size adaptation, rank-one and rank-mu updates).  It asks nobody for evaluations: its owner
// samples, evaluates and updates, generation by generation.  Copyable; not thread-safe.
//
//   CmaEs search(start, 0.1);
//   std::vector<CmaEs::Scored> generation;
//   for (i < search.population()) { x = search.sample(rng); generation.push_back({x, f(x)}); }
//   search.update(std::move(generation));

#include <cstddef>
#include <vector>

#include "optimizers/core/rng.hpp"

namespace paretod {

class CmaEs {
 public:
  struct Scored {
    std::vector<double> x;
    double score;  ///< minimised; +infinity for a failure
  };

  /// `population` 0 is the default of the tutorial, 4 + 3 ln n; otherwise at least 4.  Requires a
  /// start of at least one dimension and sigma > 0.
  CmaEs(std::vector<double> start, double sigma, std::size_t population = 0);

  [[nodiscard]] std::size_t dimension() const { return mean_.size(); }
  [[nodiscard]] std::size_t population() const { return weights_.size(); }
  /// One draw from the present distribution: exactly dimension() normals.
  [[nodiscard]] std::vector<double> sample(Rng& rng) const;
  /// One generation: exactly population() points, which may differ a little from what was sampled
  /// (repaired to bounds).  Equal scores keep their order.
  void update(std::vector<Scored> generation);

  [[nodiscard]] const std::vector<double>& mean() const { return mean_; }
  [[nodiscard]] double sigma() const { return sigma_; }
  /// Ratio of the largest to the smallest standard deviation of the distribution's axes.
  [[nodiscard]] double axis_ratio() const;

 private:
  void decompose();

  // Matrices are dense, column-major, n x n.
  std::vector<double> mean_;
  double sigma_;
  std::vector<double> weights_;  // by rank; negative for the worse half
  double mu_eff_ = 0;
  double rate_sigma_ = 0, damping_ = 0, rate_path_ = 0, rate_one_ = 0, rate_mu_ = 0;
  double expected_norm_ = 0;
  std::vector<double> path_sigma_, path_covariance_;
  std::vector<double> covariance_;
  std::vector<double> basis_;   // eigenvectors of covariance_ as of the last decomposition
  std::vector<double> scales_;  // square roots of its eigenvalues
  std::size_t generation_ = 0;
  std::size_t decomposed_at_ = 0;
};

}  // namespace paretod
