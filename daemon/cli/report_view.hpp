#pragma once
// A job's final report as lines of text.  A pure function from the daemon's JSON; what is absent is
// left out.

#include "daemon/cli/json_view.hpp"
#include "daemon/cli/result_view.hpp"

namespace paretod::cli {

/// A row per named point with each objective, at most two metrics that differ between rows, and the
/// differences to the first row; a sentence that says by how much the first row is better than the
/// second; what measuring the rows took (metrics whose names begin with "used."); and of a merge of
/// adapters (parameters beta.NAME, alpha.NAME) a row per adapter with its numbers and what becomes
/// of the objectives without it (rows "without:NAME").  Empty without rows.
Lines report_view(const Json& report, const Json& objectives);

}  // namespace paretod::cli
