#pragma once
// A model of the objectives that an optimizer fitted to a job's trials, as everything outside
// optimizers/ sees it: it predicts any point and answers questions to the predicted front without
// an evaluation.  What it says is a prediction; the official front is that of measured trials.
//
// Immutable once fitted; any thread.  Objectives carry the user's sign everywhere here.

#include <cstddef>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "optimizers/core/trial.hpp"

namespace paretod {

struct PredictedPoint {
  Point point;                     ///< valid in the space
  std::vector<double> means;       ///< one per objective
  std::vector<double> deviations;  ///< standard deviation of a new measurement there, on examples
                                   ///< of its own
  std::vector<double> mean_deviations;  ///< of the mean alone, if the model's form is right: what
                                        ///< more measurements take away
  TrialNumber nearest_trial = 0;        ///< the measured trial closest to it
  double nearest_distance = 0;  ///< to that, root mean square over the coordinates, in parts
                                ///< of the sampled box
  double feasibility = 1;       ///< probability that it can be evaluated
  bool extrapolated = false;    ///< outside what was sampled, or too uncertain to be offered
};

/// What is asked of the predicted front, in the words of a front query (daemon/jobs/front_query):
/// objectives are scaled so that the predicted front's ideal is 0 and its nadir is 1.  A knee is
/// the weighted sum with equal weights.
struct SurrogateQuery {
  /// One per objective, not negative, summing to 1; empty: no preference.
  std::vector<double> weights = {};
  /// Smallest sum(w z) instead of smallest max(w z) + 0.001 sum(w z).
  bool weighted_sum = false;
  /// Per objective; empty: none.  Excludes weights.
  std::vector<std::optional<double>> reference_point = {};
  struct Bound {
    std::size_t objective = 0;
    double least = -std::numeric_limits<double>::infinity();
    double most = std::numeric_limits<double>::infinity();
  };
  std::vector<Bound> bounds = {};  ///< on predicted means
};

struct SurrogateAnswer {
  PredictedPoint point;
  double value = 0;  ///< what was minimised, in scaled objectives
  /// How far the means miss the bounds in all, in scaled objectives; 0: all hold.  If no point
  /// meets them this is the one that misses them by the least.
  double miss = 0;
};

/// metric = inverse link of eta(x); eta(x) = constant + linear'x + x' quadratic x / 2, over the
/// scaled coordinates x of the summary.
struct ObjectiveModel {
  std::string link;  ///< "identity"; "logit": within (low, high); "log": above low
  double low = 0, high = 1;
  std::string form;  ///< "full", "diagonal", "linear", "constant": what the data could carry
  double constant = 0;
  std::vector<double> linear;       ///< [n]
  std::vector<double> quadratic;    ///< [n][n], symmetric
  std::vector<double> eigenvalues;  ///< of it, ascending: all of one sign is a bowl or a hill
  std::size_t observations = 0;
  std::size_t terms = 0;          ///< coefficients fitted
  std::size_t wanted_terms = 0;   ///< of the full form
  std::size_t rank = 0;           ///< of the full form's design
  double condition = 0;           ///< of the fitted form's design
  double leverage = 0;            ///< the largest
  double degrees_of_freedom = 0;  ///< of the residuals
  double penalty = 0;
  double r2 = 0;        ///< of the metric, in sample
  double loo_r2 = 0;    ///< the same, each observation predicted from the others
  double loo_rmse = 0;  ///< in the metric's unit
  Point best;           ///< where the model is best
  double best_mean = 0, best_deviation = 0;
};

struct SurrogateSummary {
  /// How coordinates become x: "box" (-1 at `low`, 1 at `high`; logarithms of all three where the
  /// coordinate is searched on a log scale) or "shares" (as they are).
  std::string scaling;
  std::vector<double> low, high;                  ///< of the scale, in the point's coordinates
  std::vector<double> sampled_low, sampled_high;  ///< where measured points lie: what is searched
  std::vector<bool> log_scale;
  std::vector<ObjectiveModel> objectives;
  std::vector<double> ideal, nadir;  ///< of the predicted front
  std::string verdict;  ///< "trade-off"; "single solution": one point is best in every objective,
                        ///< which there is evidence of; "unclear"
  std::string verdict_reason;
  std::size_t observations = 0;       ///< points with a measurement
  std::size_t infeasible = 0;         ///< points without
  std::vector<std::string> warnings;  ///< what to know before trusting it
};

class Surrogate {
 public:
  virtual ~Surrogate() = default;
  [[nodiscard]] virtual const SurrogateSummary& summary() const = 0;
  /// The point is valid in the space.
  [[nodiscard]] virtual PredictedPoint predict(const Point& point) const = 0;
  /// At most `limit` points of the predicted front, sorted by the objectives in order.
  [[nodiscard]] virtual std::vector<PredictedPoint> front(std::size_t limit) const = 0;
  /// Without weights and reference point: the weighted sum with equal weights.
  [[nodiscard]] virtual SurrogateAnswer solve(const SurrogateQuery& query) const = 0;
  /// At most k points whose measurement would tell most about the front, best first; none of them
  /// measured yet.
  [[nodiscard]] virtual std::vector<PredictedPoint> worth_verifying(std::size_t k) const = 0;
};

}  // namespace paretod
