#pragma once
// Outcomes as JSON, for REST and the command line.  Pure functions; any thread.

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "optimizers/core/trial.hpp"

namespace paretod {

/// {"status":"ok","objectives":{"fd":{"value":28.9,"stderr":0.3,"n":1000}},"metrics":{..},
///  "seconds":1.5,"attempts":1}; "reason" when there is one, "constraints" likewise.  Objectives
/// carry the user's sign; those that were not measured are left out.
nlohmann::json to_json(const Outcome& outcome, const std::vector<Objective>& objectives);

}  // namespace paretod
