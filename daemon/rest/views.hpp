#pragma once
// JSON views of jobs, trials and events: what the API shows.  Pure functions; any thread.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "daemon/rest/snapshot.hpp"

namespace paretod {

/// Everything about a job.
nlohmann::json job_view(const JobSnapshot& job);
/// As in lists: without spec and report.
nlohmann::json job_summary(const JobSnapshot& job);

/// {"seconds":..,"tokens":..,"money":"0.12 USD"}; money only where there is any talk of it.
nlohmann::json spend_view(const Spend& spend, const std::string& currency);

nlohmann::json report_view(const Report& report, const SearchSpace& space);

/// {"fd":{"value":..,"stderr":..,"n":..,"replicates":..}}; what is unknown is left out.
nlohmann::json measured_view(const FrontPoint& point, const std::vector<Objective>& objectives);

nlohmann::json trial_view(TrialNumber number, const TrialRecord& trial, const JobSpec& spec);

/// The data of a server-sent event.
nlohmann::json event_view(const Event& event, const JobSpec& spec);

/// One value per name: {"f1":..,"f2":..}.
nlohmann::json by_objective(const std::vector<double>& values,
                            const std::vector<Objective>& objectives);

}  // namespace paretod
