#pragma once
// What MAP knows: a quadratic surrogate per objective, fitted to whatever was measured so far, the
// front predicted by them, and which trials could not be evaluated.  The optimizer asks it what to
// measure next; the daemon shows it and asks it questions (optimizers/core/surrogate.hpp).
//
// Immutable after fit(); any thread.  Trials give the same model in any order.

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "optimizers/core/optimizer.hpp"
#include "optimizers/front_solver.hpp"
#include "optimizers/map.hpp"
#include "optimizers/map_space.hpp"
#include "optimizers/map_verdict.hpp"

namespace paretod {

/// Whether a point can be evaluated: shares of the nearest tried points that could, weighted by
/// closeness (k nearest neighbours).
class Feasibility {
 public:
  /// `infeasible`: 0 measured, 1 never will be; between when unsure.
  void add(std::vector<double> x, double infeasible);
  [[nodiscard]] double probability(std::span<const double> x) const;
  [[nodiscard]] std::size_t infeasible() const { return infeasible_; }

 private:
  struct Tried {
    std::vector<double> x;
    double infeasible;
  };
  std::vector<Tried> tried_;
  std::size_t infeasible_ = 0;  // how many of them hardly can be evaluated
};

class MapModel final : public Surrogate {
 public:
  /// How finely the front is found: none, only the best point of each objective, suits a search
  /// that still learns; to choose the next point, which looks in directions of its own, a coarse
  /// one does.
  enum class Front { none, coarse, fine };

  /// Requires map's check to find nothing.  Fails while nothing was measured.
  static Result<std::shared_ptr<const MapModel>> fit(const SearchProblem& problem,
                                                     const MapParams& params,
                                                     const std::vector<Trial>& trials,
                                                     Front front = Front::fine);

  [[nodiscard]] const SurrogateSummary& summary() const override { return summary_; }
  [[nodiscard]] PredictedPoint predict(const Point& point) const override;
  [[nodiscard]] std::vector<PredictedPoint> front(std::size_t limit) const override;
  [[nodiscard]] SurrogateAnswer solve(const SurrogateQuery& query) const override;
  [[nodiscard]] std::vector<PredictedPoint> worth_verifying(std::size_t k) const override;

  // For the optimizer, in scaled coordinates.

  /// The next points to verify, best first; `pending` were asked for and are not told.  Of the
  /// predicted front, and of one drawn from the posterior, each is the point that is expected to
  /// raise the hypervolume of the measured front most: on the average over such draws.
  [[nodiscard]] std::vector<std::vector<double>> verification(
      std::size_t k, std::span<const std::vector<double>> pending, std::uint64_t turn) const;
  /// Where the models are least sure together.
  [[nodiscard]] std::vector<double> least_sure(std::span<const std::vector<double>> pending,
                                               std::uint64_t turn) const;
  /// Whether x may be offered: inside what was sampled, feasible, and sure enough.
  [[nodiscard]] bool allowed(std::span<const double> x) const;
  /// Measured points, and how far the surrogate is off there.
  [[nodiscard]] std::vector<std::pair<std::vector<double>, double>> residuals(
      std::size_t objective) const;
  [[nodiscard]] const std::vector<QuadraticSurrogate>& surrogates() const { return surrogates_; }
  [[nodiscard]] const MapSpace& space() const { return space_; }

 private:
  MapModel(const SearchProblem& problem, const MapParams& params);
  MapModel(const MapModel&) = delete;
  MapModel& operator=(const MapModel&) = delete;
  void take_in(const SearchProblem& problem, const MapParams& params,
               const std::vector<Trial>& trials);
  void fit_surrogates(const MapParams& params);
  void find_front(const MapParams& params, Front front);
  void describe_models();
  void judge();
  void warn();
  [[nodiscard]] bool tried(std::span<const double> x,
                           std::span<const std::vector<double>> pending) const;
  [[nodiscard]] PredictedPoint predicted(std::span<const double> x) const;
  [[nodiscard]] std::vector<double> minimised(std::span<const double> means) const;

  MapSpace space_;
  std::vector<Objective> objectives_;
  std::vector<double> signs_;
  std::uint64_t seed_;
  std::vector<MapMeasurement> measured_;
  Feasibility feasibility_;
  std::size_t ignored_ = 0;  // trials at another fidelity
  std::vector<QuadraticSurrogate> surrogates_;
  SolverDomain domain_;
  std::vector<double> deviation_limits_;  // per objective
  std::shared_ptr<const FrontSolver> solver_;
  std::vector<SolverPoint> front_;      // the most spread out first
  std::vector<double> ideal_, ranges_;  // of front_, minimised
  bool paper_ = false;
  SurrogateSummary summary_;
};

}  // namespace paretod
