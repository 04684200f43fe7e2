#include "adapters/json/outcome_json.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace paretod {

using nlohmann::json;

json to_json(const Outcome& outcome, const std::vector<Objective>& objectives) {
  json object{{"status", name_of(outcome.status)},
              {"objectives", json::object()},
              {"metrics", json::object()},
              {"seconds", outcome.cost.seconds},
              {"attempts", outcome.attempts}};
  const std::size_t measured = std::min(outcome.objectives.size(), objectives.size());
  for (std::size_t i = 0; i < measured; ++i) {
    const Measurement& measurement = outcome.objectives[i];
    json& entry = object["objectives"][objectives[i].name];
    entry["value"] = measurement.value;
    if (measurement.has_error()) entry["stderr"] = measurement.standard_error;
    if (measurement.count > 0) entry["n"] = measurement.count;
  }
  for (const auto& [name, value] : outcome.metrics) object["metrics"][name] = value;
  if (!outcome.constraints.empty()) object["constraints"] = outcome.constraints;
  if (outcome.cost.tokens > 0 || outcome.cost.money_micros > 0) {
    object["cost"] = {{"tokens", outcome.cost.tokens}, {"money_micros", outcome.cost.money_micros}};
  }
  for (std::size_t i = 0; i < std::min(outcome.examples.size(), objectives.size()); ++i) {
    if (!outcome.examples[i].empty()) {
      object["examples"][objectives[i].name] = outcome.examples[i].size();
    }
  }
  if (outcome.same_as > 0) object["same_as"] = outcome.same_as;
  if (!outcome.reason.empty()) object["reason"] = outcome.reason;
  return object;
}

}  // namespace paretod
