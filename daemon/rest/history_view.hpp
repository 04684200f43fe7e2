#pragma once
// How a search got where it is: the best value or the hypervolume by trial, by time and by spend.
// Replicates of one point are pooled as in the front (MeasuredPoint), and points that violate a
// constraint count for nothing.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "daemon/rest/told_columns.hpp"

namespace paretod {

struct HistoryRequest {
  std::int64_t created_ms = 0;
  std::string currency = {};  ///< of the job's money; empty: it has no budget of it
  bool final = false;         ///< nothing more will be told
  std::size_t points = 200;   ///< rows at most, >= 2; the first and the last are kept
  /// Minimised; without it, that of the job's progress (reference_trials).
  std::optional<std::vector<double>> reference = {};
};

/// One objective: a row at each change of the best point, and the last trial; several: rows evenly
/// spread over the ok trials.
nlohmann::json history_view(const ToldColumns& told, const std::vector<Objective>& objectives,
                            const HistoryRequest& request);

}  // namespace paretod
