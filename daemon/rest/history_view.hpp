#pragma once
// How a search got where it is: the best value or the hypervolume over its told trials.  Replicates
// of one point are pooled as in the front (MeasuredPoint).

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "daemon/jobs/job.hpp"

namespace paretod {

/// An ok trial, in the order told.
struct HistorySample {
  TrialNumber trial = 0;
  std::uint64_t told = 0;  ///< it was the n-th told
  std::int64_t told_ms = 0;
  std::uint64_t point_key = 0;     ///< equal for replicates
  std::vector<double> objectives;  ///< minimised
};

/// Copies some thousands at a time, so that the job's lock is never held for long.
std::vector<HistorySample> history_samples(Job& job);

/// One objective: a row at each change of the best point, and the last trial; several: rows evenly
/// spread over the samples.  At most `points` rows (>= 2) either way, the first and last kept.
nlohmann::json history_view(const std::vector<HistorySample>& samples,
                            const std::vector<Objective>& objectives, std::int64_t created_ms,
                            bool final, std::size_t points);

}  // namespace paretod
