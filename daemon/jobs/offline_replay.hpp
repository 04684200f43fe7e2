#pragma once
// `paretod replay`: re-runs a job's optimizer over an exported log and says whether it asks for
// exactly the points that the log records.  Nothing is evaluated; no daemon is needed.

#include <string>
#include <vector>

#include "optimizers/core/optimizer.hpp"
#include "optimizers/core/result.hpp"

namespace paretod {

struct ReplayVerdict {
  std::string job_name;
  std::uint64_t trials = 0;  ///< asked by the optimizer and found equal
  bool complete = false;     ///< the optimizer came to its end, as the log did
  std::string mismatch;      ///< empty when everything was equal
};

/// `export_text` is the output of `paretod export`: one {"id", "event"} object per line.
Result<ReplayVerdict> replay_export(const std::string& export_text,
                                    const std::vector<Optimizer>& optimizers);

}  // namespace paretod
