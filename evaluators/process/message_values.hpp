#pragma once
// Values within messages of the evaluator protocol (protocol.hpp): measurements, single examples,
// costs.  Pure functions; any thread.  Every error is one sentence that names the field.

#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "optimizers/core/result.hpp"
#include "optimizers/core/trial.hpp"

namespace paretod {

/// Values on single examples that one message may carry, per objective.
inline constexpr std::size_t most_examples = 4096;

/// What an evaluator says that an attempt used up.
struct ReportedCost {
  std::optional<double> seconds;  ///< absent: what the daemon measures
  std::uint64_t tokens = 0;
  std::int64_t money_micros = 0;

  [[nodiscard]] Spend spend(double measured_s) const {
    return {seconds.value_or(measured_s), tokens, money_micros};
  }
};

using Measurements = std::map<std::string, Measurement>;          ///< by objective
using ExampleValues = std::map<std::string, std::vector<float>>;  ///< by objective

/// One value of "objectives" or "partial": a number, or {"value","stderr","n"}.
Result<Measurement> measurement_from_json(const std::string& objective,
                                          const nlohmann::json& value);

/// {"acc":[1,0,1]}: arrays of finite numbers (as floats) by objective.
Result<ExampleValues> examples_from_json(const nlohmann::json& value);

/// {"seconds":1.5,"tokens":900,"money_micros":1200}, each not negative and each optional.
Result<ReportedCost> cost_from_json(const nlohmann::json& value);

/// "objective "fd" has to be a finite number, not null".
Error not_finite(const std::string& what, const std::string& name, const nlohmann::json& value);

}  // namespace paretod
