#pragma once
// Why a point of a front was chosen, or why none was: as JSON, and in a sentence for people.  Pure
// functions; any thread.

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "daemon/jobs/front_query.hpp"

namespace paretod {

struct FrontSlice;

std::vector<std::string> constraint_texts(const FrontQuery& query,
                                          const std::vector<Objective>& objectives);

/// Reference points in the minimised sign.
std::vector<std::optional<double>> minimised(std::vector<std::optional<double>> values,
                                             const std::vector<Objective>& objectives);

/// How the choice among `allowed` points of the slice came about.
nlohmann::json why_view(const FrontSlice& slice, const Choice& choice, std::size_t allowed,
                        const FrontQuery& query, const std::vector<Objective>& objectives);

/// The point that comes closest to what nothing meets (null without points), and the sentence about
/// it.
nlohmann::json closest_view(const FrontSlice& slice, const FrontQuery& query,
                            const std::vector<Objective>& objectives, std::string& message);

}  // namespace paretod
