#pragma once
// What a surrogate says, as lines of text.  Pure functions from the daemon's JSON; what is absent
// is left out.

#include <cstddef>

#include "daemon/cli/result_view.hpp"

namespace paretod::cli {

/// A reply of /surrogate: a row per objective, the verdict, the sampled box, the warnings.
Lines surrogate_view(const Json& surrogate, const Page& page);

/// A reply of /front with source=predicted: as front_view() of a measured one, and in the picture
/// the measured front (a reply of /front) with it.
Lines predicted_front_view(const Json& predicted, const Json& measured, std::size_t limit,
                           const Page& page);

/// The trials of a reply of :verify; `measured` holds those of them that are known by now, as
/// /trials/{trial} gives them.
Lines verified_view(const Json& verification, const std::vector<Json>& measured, const Page& page);

}  // namespace paretod::cli
