#pragma once
// What a MAP search says when it ends: measured points of the front, and what the surrogates say of
// the front as a whole.

#include <memory>
#include <string>
#include <vector>

#include "optimizers/core/optimizer.hpp"
#include "optimizers/map_model.hpp"

namespace paretod {

/// Rows: the balanced point (least augmented Chebyshev distance of the measured front to its ideal,
/// equal weights), then the best of each objective; numbers are those measured.  The stop reason
/// ends with the model's verdict.
Report map_report(const SearchProblem& problem, const MapParams& params,
                  const std::shared_ptr<const MapModel>& model, const std::vector<Trial>& trials,
                  std::string stop_reason);

}  // namespace paretod
