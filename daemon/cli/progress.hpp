#pragma once
// The progress of a job in one line, from the job as the daemon describes it.  Pure functions.

#include <cstddef>
#include <string>

#include "daemon/cli/json_view.hpp"

namespace paretod::cli {

/// For a terminal: bar, counts, rate, best value or front, time left.  Fits into `width` columns;
/// what matters least is left out first.
std::string progress_line(const Json& job, std::size_t width);

/// For a log: the same in words, without a bar and without regard to width.
std::string progress_text(const Json& job);

/// What is used up of each budget but that of trials: "0.04 USD of 0.05 USD"; empty without any.
std::string spend_text(const Json& progress);

/// "fd 0.4123 ± 0.0051" for one objective, "front of 12, hypervolume 0.871" for several; "" while
/// there is nothing.
std::string best_text(const Json& progress);

/// Why a person should look at the job; "" when it is healthy.
std::string trouble_text(const Json& job);

/// Of a full bar: 0..1.
std::string progress_bar(double part, std::size_t width);

/// Whether a job in this status will never run again.
bool is_final(const std::string& status);

}  // namespace paretod::cli
