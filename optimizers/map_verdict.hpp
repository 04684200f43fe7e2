#pragma once
// Whether MAP's models and the measurements behind them show a trade-off at all.
//
// "trade-off" takes a difference that the models are sure of, or two measured points each clearly
// better than the other in something.  "single solution" is a claim of equivalence, so it takes
// evidence of its own: an upper confidence bound of what one point gives up (Schuirmann,
// J. Pharmacokinet. Biopharm. 15, 1987), and a measured point that bears it out; that models cannot
// tell two points apart is none.  All else is "unclear", and the reason says what would clear it.

#include <span>
#include <string>
#include <vector>

#include "optimizers/core/trial.hpp"
#include "optimizers/front_solver.hpp"
#include "optimizers/quadratic_surrogate.hpp"

namespace paretod {

/// Leave-one-out R2 from which on a model says clearly more than the mean of the measurements.
constexpr double telling_r2 = 0.5;

/// The mean of what was measured at a point.
struct MapMeasurement {
  std::vector<double> x;
  std::vector<double> means;            ///< the user's sign
  std::vector<double> standard_errors;  ///< negative: unknown
  TrialNumber trial = 0;
};

struct MapVerdict {
  std::string verdict, reason;  ///< as in SurrogateSummary
};

/// One surrogate, sign (-1: maximised) and name per objective; at least one measured point.
/// `front`: points that the solver has found.
MapVerdict map_verdict(std::span<const Objective> objectives,
                       std::span<const QuadraticSurrogate> surrogates,
                       std::span<const double> signs, const FrontSolver& solver,
                       std::span<const SolverPoint> front,
                       std::span<const MapMeasurement> measured);

}  // namespace paretod
