#pragma once
// MAP: Pareto fronts of merged models from quadratic surrogates (Li et al., "MAP: low-compute model
// merging with amortized Pareto fronts", arXiv 2406.07529).  One surrogate per objective is fitted
// to a designed sample of merging coefficients, the front is found on the surrogates, its points
// are verified by measurement, and the surrogates are refitted until they and the measurements
// agree.  Afterwards any preference is answered by the surrogates (map_model.hpp) for nothing.
//
// What it needs: 2 to 12 real coefficients in a box, or one simplex parameter; smooth objectives.
//
// Modes: flat; nested (pairs of tasks, as a binary tree; map_nested.hpp); bayesian (measures where
// the surrogates are least sure before it looks for the front).  Preset "paper": the published
// procedure, for comparison, without its defects (each is named where it is mended).

#include <cstdint>
#include <string>
#include <vector>

#include "optimizers/core/optimizer.hpp"

namespace paretod {

struct MapParams {
  std::string mode = "flat";
  std::string preset = "default";
  std::string link = "auto";
  double metric_low = 0;
  double metric_high = 1;
  std::int64_t samples = 0;
  std::int64_t design = 0;
  std::int64_t round = 0;
  double tolerance = 1e-3;
  std::vector<double> preference = {};
  std::int64_t fidelity = 0;

  [[nodiscard]] bool paper() const { return preset == "paper"; }
};

template <>
Fields<MapParams> describe();

Optimizer map_optimizer();

}  // namespace paretod
