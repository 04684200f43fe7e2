#pragma once
// The Pareto front of smooth models, and single points of it, by local solves of scalarised
// problems (achievement scalarising functions: Wierzbicki, LNEMS 177, 1980): the maximum is
// smoothed by log-sum-exp of falling temperature, each level solved by spectral projected gradients
// (Birgin, Martinez and Raydan, SIAM J. Optim. 10(4), 2000).  Models cost nothing, so accuracy is
// cheap: no population, no generations, and a question to the front is one more solve.
//
// Deterministic.  Const members may be called from any thread.  Objectives are minimised here.

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "optimizers/quadratic_surrogate.hpp"

namespace paretod {

/// Where models are searched: a box, or the unit simplex.
struct SolverDomain {
  std::vector<double> low, high;
  bool simplex = false;
  void project(std::span<double> x) const;
};

struct SolverPoint {
  std::vector<double> x;
  std::vector<double> y;  ///< minimised: maximised means are negated
};

/// Minimise max_k t_k + sum_share * sum_k t_k, t_k = weight_k (y_k - origin_k) / range_k, where
/// least_k <= y_k <= most_k if possible.  A weight of zero leaves the objective out.
struct Scalarisation {
  std::vector<double> weights, origin, ranges;
  double max_share = 1;
  double sum_share = 1e-3;
  std::vector<double> least = {}, most = {};  ///< empty: none

  [[nodiscard]] double value(std::span<const double> y) const;
  /// Sum of what misses the bounds, in ranges.
  [[nodiscard]] double miss(std::span<const double> y) const;
};

class FrontSolver {
 public:
  /// `signs`: -1 where a model's mean is maximised.  `seeds` are searched from, besides points that
  /// fill the domain.  `allowed`, if given, limits the search; it holds for one seed at least, or
  /// is ignored.
  FrontSolver(std::vector<QuadraticSurrogate> models, std::vector<double> signs,
              SolverDomain domain, const std::vector<std::vector<double>>& seeds,
              std::function<bool(std::span<const double>)> allowed = {});

  [[nodiscard]] std::vector<double> objectives(std::span<const double> x) const;
  /// The best point of one model alone.
  [[nodiscard]] const SolverPoint& best(std::size_t objective) const { return best_[objective]; }
  /// Componentwise least of best(); over best(), the greatest.
  [[nodiscard]] const std::vector<double>& ideal() const { return ideal_; }
  [[nodiscard]] const std::vector<double>& nadir() const { return nadir_; }

  /// Non-dominated, one per direction at most (shares of the way from ideal to nadir).
  [[nodiscard]] std::vector<SolverPoint> front(
      const std::vector<std::vector<double>>& directions) const;

  /// Starts from the best of `starts` and of the points that fill the domain.
  [[nodiscard]] SolverPoint minimise(const Scalarisation& goal,
                                     std::span<const SolverPoint> starts) const;

 private:
  [[nodiscard]] SolverPoint point(std::vector<double> x) const;
  [[nodiscard]] SolverPoint descend(const Scalarisation& goal, const SolverPoint& start) const;
  struct Smooth;
  void level(Smooth& smooth, std::vector<double>& x) const;

  const std::vector<QuadraticSurrogate> models_;
  const std::vector<double> signs_;
  const SolverDomain domain_;
  const std::function<bool(std::span<const double>)> allowed_;
  std::vector<SolverPoint> pool_;
  std::vector<SolverPoint> best_;
  std::vector<double> ideal_, nadir_;
};

}  // namespace paretod
