#pragma once
// The last thing a search does: named points, evaluated on replicates that it never saw, compared
// in pairs.

#include <cstdint>

#include "optimizers/core/optimizer.hpp"

namespace paretod {

// Replicates 0, 1, ... belong to a search; these begin the other stages' own.
constexpr std::uint64_t selection_replicate = 1'000'000;
constexpr std::uint64_t report_replicate = 2'000'000;

/// Evaluates the points of report.rows, which have names, on `replicates` replicates from
/// `report_replicate` on, and fills in the rest of the report: quantities (objectives, then
/// metrics), trials, estimates and differences.  Leaves them empty where nothing could be
/// evaluated.  Requires in_flight() == 0.
void measure_report(const SearchProblem& problem, std::uint64_t fidelity, std::uint64_t replicates,
                    Report& report, Evaluations& evaluations);

}  // namespace paretod
