#pragma once
// The front that a job's surrogate predicts, as JSON and CSV, and its answers to the questions that
// a measured front answers (daemon/jobs/front_query.hpp): solved on the surrogate between the
// points that are listed, at no evaluation.  Everything here says that it is predicted.  Pure
// functions, but for the job's lock, which those that need measured trials take.

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "daemon/jobs/front_query.hpp"
#include "daemon/jobs/surrogate_desk.hpp"

namespace paretod {

SurrogateQuery surrogate_query(const FrontQuery& query);

/// {"f1":{"mean":..,"sd":..,"sd_mean":..}}.
nlohmann::json predicted_objectives(const PredictedPoint& point,
                                    const std::vector<Objective>& objectives);

/// At most `limit` points are listed.
std::string predicted_json(Job& job, const JobSurrogate& surrogate, const FrontQuery& query,
                           std::size_t limit);
/// RFC 4180 with a header: source (always "predicted"), a column per parameter, two per objective
/// (NAME, NAME_sd, NAME_sd_mean), nearest_trial, nearest_distance, feasibility, extrapolated; then
/// "chosen" if the question chooses, with the chosen point first.
std::string predicted_csv(Job& job, const JobSurrogate& surrogate, const FrontQuery& query,
                          std::size_t limit);

}  // namespace paretod
