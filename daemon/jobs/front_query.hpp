#pragma once
// Questions to a front and how they are answered: which of its points are allowed, and which of
// those is best by a preference, by a reference point or as the knee.  Pure functions; any thread.
//
// Points are minimised objective vectors, none of which dominates another.  Every choice is made
// on objectives normalised by the whole front's ideal (0) and nadir (1), constraints or not: so the
// unit of an objective does not matter, and a constraint that the chosen point meets does not
// change the choice.
//
// Sources: Wierzbicki, "The use of reference objectives in multiobjective optimization", LNEMS 177,
// 1980 (achievement scalarising functions); Steuer and Choo, Mathematical Programming 26, 1983
// (augmented Chebyshev); Das, "On characterizing the knee of the Pareto curve based on
// normal-boundary intersection", Structural Optimization 18, 1999; Branke, Deb, Dierolf and
// Osswald, "Finding knees in multi-objective optimization", PPSN VIII, 2004.

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "optimizers/core/result.hpp"
#include "optimizers/core/trial.hpp"

namespace paretod {

using ObjectiveVectors = std::vector<std::vector<double>>;

/// The componentwise best and worst of a front.
struct FrontScale {
  std::vector<double> ideal;
  std::vector<double> nadir;
  /// 0 at the ideal, 1 at the nadir; 0 where all points are equal.
  [[nodiscard]] double normalised(std::size_t objective, double value) const;
  /// A difference of two values in parts of the range; as it is where all points are equal.
  [[nodiscard]] double part(std::size_t objective, double difference) const;
};
/// Empty vectors for no points.
FrontScale scale_of(const ObjectiveVectors& points);

// ---- constraints -------------------------------------------------------------------------------

enum class Comparison { at_least, at_most, less, greater, equal };

/// "acc >= 0.8", in the user's sign.
struct FrontConstraint {
  std::size_t objective = 0;
  Comparison comparison = Comparison::at_most;
  double bound = 0;
  [[nodiscard]] bool holds(double value) const;
  /// By how much the value misses the bound; 0 also for one that is on a bound it must not be on.
  [[nodiscard]] double miss(double value) const;
};
std::string text_of(const FrontConstraint& constraint, const std::vector<Objective>& objectives);

/// The points, by place and in order, that meet every constraint.
std::vector<std::size_t> satisfying(const ObjectiveVectors& points,
                                    const std::vector<Objective>& objectives,
                                    const std::vector<FrontConstraint>& where);

/// The point that misses the constraints by the least in all, in parts of the front's ranges.
/// Precondition: there is a point.
std::size_t closest_to(const ObjectiveVectors& points, const std::vector<Objective>& objectives,
                       const FrontScale& scale, const std::vector<FrontConstraint>& where);

// ---- choices -----------------------------------------------------------------------------------

/// The best and the next best of the allowed points, as places in the front.
struct Choice {
  std::size_t chosen = 0;
  double value = 0;
  std::optional<std::size_t> runner_up;
  double runner_up_value = 0;
};

enum class PreferenceMethod { chebyshev, weighted_sum };
std::string_view name_of(PreferenceMethod method);

/// Weight of the sum in the augmented forms: enough to tell weakly dominated points apart, too
/// little to outvote the worst objective.
inline constexpr double augmentation = 1e-3;

/// Smallest max(w z) + augmentation * sum(w z), or sum(w z), over normalised objectives z.  Ties go
/// to the smaller plain sum, then to the first.  Preconditions: `allowed` is not empty; weights are
/// not negative and sum to 1.
Choice choose_by_preference(const ObjectiveVectors& points, const std::vector<std::size_t>& allowed,
                            const FrontScale& scale, const std::vector<double>& weights,
                            PreferenceMethod method);

/// Smallest achievement max(d) + augmentation * sum(d), where d are the distances behind the
/// reference point (minimised) in parts of the front's range; at most about 0 when it is reached.
/// An objective without a reference asks for nothing.  Preconditions: `allowed` is not empty; one
/// objective at least has a reference.
Choice choose_by_reference(const ObjectiveVectors& points, const std::vector<std::size_t>& allowed,
                           const FrontScale& scale,
                           const std::vector<std::optional<double>>& reference);

/// Largest distance below the hyperplane sum(z) = 1 of normalised objectives z, which passes
/// through the points that are worst in one objective and best in all others.  With two objectives
/// these are the ends of the front, and it is the line between them; with more it is the direction
/// of Das' quasi-normal, defined however the extreme points lie.  `value` is that distance: not
/// above 0 when the front has no knee.  Precondition: `allowed` is not empty.
Choice choose_knee(const ObjectiveVectors& points, const std::vector<std::size_t>& allowed,
                   const FrontScale& scale);

/// At most `limit` of the points, in their order, for display.  One and two objectives: evenly
/// spread by place, both ends included.  More: the best of each objective, then again and again the
/// point farthest from all taken so far (Gonzalez, TCS 38, 1985), in normalised objectives, as long
/// as that takes some milliseconds; what then is missing is spread evenly.  Precondition: limit >
/// 0.
std::vector<std::size_t> thinned(const ObjectiveVectors& points,
                                 const std::vector<std::size_t>& allowed, const FrontScale& scale,
                                 std::size_t limit);

/// Which of `size` points to show if at most `limit` may be: evenly spread, both ends included.
/// Precondition: limit > 0.
std::vector<std::size_t> spread(std::size_t size, std::size_t limit);

/// Whether `member` dominates `other` with one-sided confidence in each objective:
/// other - member >= z * sqrt(se_member^2 + se_other^2) everywhere and other > member somewhere.
/// Negative standard errors are unknown and count as 0; without any this is plain dominance.
bool dominates_surely(const double* member, const double* member_errors, const double* other,
                      const double* other_errors, std::size_t objectives, double z);

// ---- reading -----------------------------------------------------------------------------------

/// A question as it was sent.
struct FrontQuestion {
  std::optional<std::string> preference = {};
  std::optional<std::string> method = {};
  std::optional<std::string> reference_point = {};
  std::vector<std::string> where = {};
  std::optional<std::string> confidence = {};
  bool knee = false;
};

/// A question that has been understood.
struct FrontQuery {
  std::vector<double> weights = {};  ///< per objective, summing to 1; empty: no preference
  PreferenceMethod method = PreferenceMethod::chebyshev;
  /// Per objective, the user's sign; empty: none.
  std::vector<std::optional<double>> reference_point = {};
  std::vector<FrontConstraint> where = {};
  double confidence = 0;  ///< 0: not asked for
  bool knee = false;
  [[nodiscard]] bool chooses() const {
    return knee || !weights.empty() || !reference_point.empty();
  }
};

/// Problems point at "/query/<name>" and say what to write instead.
Result<FrontQuery> read_front_query(const FrontQuestion& question,
                                    const std::vector<Objective>& objectives);

/// "fd:0.4,time:2" (or "fd=0.4,time=2"); problems point at `pointer`.
Result<std::vector<std::optional<double>>> read_objective_values(
    const std::string& text, const std::vector<Objective>& objectives, const std::string& pointer);

/// The shortest text that reads back as the value.
std::string shortest(double value);

}  // namespace paretod
