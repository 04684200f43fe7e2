#include "daemon/rest/views.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "adapters/json/outcome_json.hpp"
#include "adapters/json/space_json.hpp"
#include "daemon/jobs/money.hpp"
#include "daemon/rest/json_text.hpp"

namespace paretod {
namespace {

using nlohmann::json;

json estimate_view(const Estimate& estimate) {
  json view{{"mean", estimate.mean}};
  if (estimate.standard_error >= 0) view["stderr"] = estimate.standard_error;
  if (estimate.count > 0) view["n"] = estimate.count;
  return view;
}

json estimates_view(const std::vector<std::string>& quantities,
                    const std::vector<Estimate>& estimates) {
  json view = json::object();
  const std::size_t count = std::min(quantities.size(), estimates.size());
  for (std::size_t i = 0; i < count; ++i) view[quantities[i]] = estimate_view(estimates[i]);
  return view;
}

/// Each resource that has a cap: what is used up, set aside, and allowed.
json budgets_view(const JobSnapshot& job) {
  json view = json::object();
  for (const Resource resource : all_resources) {
    const double cap = amount_of(job.budget.caps, resource);
    if (cap <= 0) continue;
    const auto shown = [&](const Spend& spend) {
      if (resource == Resource::money)
        return json(money_text(spend.money_micros, job.budget.currency));
      if (resource == Resource::tokens) return json(spend.tokens);
      return json(spend.seconds);
    };
    view[std::string(name_of(resource))] = {{"spent", shown(job.spent)},
                                            {"held", shown(job.held)},
                                            {"cap", shown(job.budget.caps)},
                                            {"share", amount_of(job.spent, resource) / cap}};
  }
  return view;
}

json progress_view(const JobSnapshot& job) {
  const auto count = [&](TrialStatus status) {
    return job.counts[static_cast<std::size_t>(status)];
  };
  const double running = static_cast<double>(job.running_ms) / 1000;
  const double rate = running > 0 ? static_cast<double>(job.told) / running : 0;
  json view{{"asked", job.asked},
            {"told", job.told},
            {"imported", job.imported},
            {"injected", job.injected},
            {"injected_told", job.injected_told},
            {"in_flight", job.in_flight},
            {"ok", count(TrialStatus::ok)},
            {"infeasible", count(TrialStatus::infeasible)},
            {"failed", count(TrialStatus::failed)},
            {"unknown", count(TrialStatus::unknown)},
            {"budget_trials", job.budget.trials},
            {"parallelism", job.parallelism},
            {"evaluation_seconds", job.spent.seconds},
            {"budgets", budgets_view(job)},
            {"running_seconds", running},
            {"trials_per_second", rate},
            {"seconds_left", nullptr},
            {"front_size", job.front_size},
            {"best", nullptr},
            {"hypervolume", nullptr}};
  if (job.status == JobStatus::running && rate > 0) {
    const auto left =
        static_cast<double>(job.budget.trials - std::min(job.budget.trials, job.told));
    double seconds = left / rate;
    if (job.budget.wall_s > 0) {
      seconds = std::min(seconds, std::max(0.0, job.budget.wall_s - running));
    }
    view["seconds_left"] = seconds;
  }
  if (job.best) {
    view["best"] = {{"trial", job.best->trial},
                    {"objectives", measured_view(*job.best, job.spec->objectives)}};
  }
  if (job.hypervolume) {
    view["hypervolume"] = {
        {"value", job.hypervolume->value},
        {"reference_point", by_objective(job.hypervolume->reference, job.spec->objectives)}};
  }
  return view;
}

/// Whether a person should look at the job, and why.
json health_view(const JobSnapshot& job) {
  std::string reason(name_of(job.status));
  reason[0] = static_cast<char>(reason[0] - 'a' + 'A');
  std::string message = job.status_reason;
  bool healthy = job.status != JobStatus::failed && job.status != JobStatus::diverged;
  if (!job.trouble.empty()) {
    healthy = false;
    reason = "Blocked";
    message = job.trouble;
  }
  return {{"type", "Healthy"},
          {"status", healthy},
          {"reason", reason},
          {"message", message},
          {"time", time_text(job.updated_ms)}};
}

json body_view(const OwnerEvent& owner, const JobSpec&) {
  return {{"build", owner.build}};
}
json body_view(const CreatedEvent& created, const JobSpec&) {
  return {{"spec", to_json(created.spec)}};
}
json body_view(const AskedEvent& asked, const JobSpec& spec) {
  return {{"trial", asked.number},
          {"candidate", candidate_json(spec.space, asked.candidate.point)},
          {"fidelity", asked.candidate.fidelity},
          {"replicate", asked.candidate.replicate},
          {"tag", asked.candidate.tag}};
}
json body_view(const ToldEvent& told, const JobSpec& spec) {
  return {{"trial", told.number}, {"outcome", to_json(told.outcome, spec.objectives)}};
}
json body_view(const PausedEvent& paused, const JobSpec&) {
  return {{"reason", paused.reason}, {"cause", name_of(paused.cause)}};
}
json body_view(const StartedEvent& started, const JobSpec& spec) {
  return {{"trial", started.number},
          {"attempt", started.attempt},
          {"worker", started.worker},
          {"hold", spend_view(started.hold, spec.budget.currency)}};
}
json body_view(const EndedEvent& ended, const JobSpec& spec) {
  return {{"trial", ended.number},     {"attempt", ended.attempt},
          {"end", name_of(ended.end)}, {"worker", ended.worker},
          {"reason", ended.reason},    {"cost", spend_view(ended.cost, spec.budget.currency)}};
}
json body_view(const EvaluatorEvent& evaluator, const JobSpec&) {
  return {{"version", evaluator.version}};
}
json body_view(const BudgetEvent& budget, const JobSpec&) {
  return {{"resource", name_of(budget.resource)}, {"percent", budget.percent}};
}
json body_view(const ResumedEvent&, const JobSpec&) {
  return json::object();
}
json body_view(const ExtendedEvent& extended, const JobSpec& spec) {
  json view{{"reason", extended.reason}};
  if (extended.trials) view["budget"]["trials"] = *extended.trials;
  if (extended.wall_s) view["budget"]["wall_s"] = *extended.wall_s;
  if (extended.evaluation_s) view["budget"]["evaluation_s"] = *extended.evaluation_s;
  if (extended.tokens) view["budget"]["tokens"] = *extended.tokens;
  if (extended.money_micros) {
    view["budget"]["money"] = money_text(*extended.money_micros, spec.budget.currency);
  }
  if (extended.parallelism) view["parallelism"] = *extended.parallelism;
  return view;
}
json body_view(const InjectedEvent& injected, const JobSpec& spec) {
  json trials = json::array();
  for (std::size_t i = 0; i < injected.candidates.size(); ++i) {
    trials.push_back(body_view(AskedEvent{injected.first + i, injected.candidates[i]}, spec));
  }
  return {{"trials", std::move(trials)}};
}
json body_view(const FinishedEvent& finished, const JobSpec& spec) {
  return {{"status", name_of(finished.status)},
          {"reason", finished.reason},
          {"report", report_view(finished.report, spec.space)}};
}

}  // namespace

json spend_view(const Spend& spend, const std::string& currency) {
  json view{{"seconds", spend.seconds}, {"tokens", spend.tokens}};
  if (!currency.empty() || spend.money_micros > 0) {
    view["money"] = money_text(spend.money_micros, currency);
  }
  return view;
}

json by_objective(const std::vector<double>& values, const std::vector<Objective>& objectives) {
  json view = json::object();
  for (std::size_t i = 0; i < values.size(); ++i) view[objectives[i].name] = values[i];
  return view;
}

json job_summary(const JobSnapshot& job) {
  json view{{"id", job.id},
            {"name", job.spec->name},
            {"status", name_of(job.status)},
            {"status_reason", job.status_reason},
            {"create_time", time_text(job.created_ms)},
            {"update_time", time_text(job.updated_ms)},
            {"progress", progress_view(job)}};
  view["conditions"] = json::array({health_view(job)});
  return view;
}

json job_view(const JobSnapshot& job) {
  json view = job_summary(job);
  view["spec"] = to_json(*job.spec);
  view["report"] =
      job.report == nullptr ? json(nullptr) : report_view(*job.report, job.spec->space);
  return view;
}

json report_view(const Report& report, const SearchSpace& space) {
  json rows = json::array();
  for (const ReportRow& row : report.rows) {
    rows.push_back({{"name", row.name},
                    {"trial", row.trial},
                    {"candidate", candidate_json(space, row.point)},
                    {"estimates", estimates_view(report.quantities, row.estimates)},
                    {"difference", estimates_view(report.quantities, row.difference)}});
  }
  return {{"stop_reason", report.stop_reason},
          {"quantities", report.quantities},
          {"rows", std::move(rows)}};
}

json measured_view(const FrontPoint& point, const std::vector<Objective>& objectives) {
  json view = json::object();
  for (std::size_t i = 0; i < point.objectives.size(); ++i) {
    const Measurement& measurement = point.objectives[i];
    json& entry = view[objectives[i].name];
    entry["value"] = measurement.value;
    if (measurement.has_error()) entry["stderr"] = measurement.standard_error;
    if (measurement.count > 0) entry["n"] = measurement.count;
    entry["replicates"] = point.replicates;
  }
  return view;
}

json trial_view(TrialNumber number, const TrialRecord& trial, const JobSpec& spec) {
  const Candidate& candidate = trial.candidate;
  json view{{"number", number},
            {"status", trial.outcome ? name_of(trial.outcome->status) : "asked"},
            {"candidate", candidate_json(spec.space, candidate.point)},
            {"fidelity", candidate.fidelity},
            {"replicate", candidate.replicate},
            {"tag", candidate.tag},
            {"asked_time", time_text(trial.asked_ms)}};
  if (trial.outcome) {
    view["outcome"] = to_json(*trial.outcome, spec.objectives);
    view["told_time"] = time_text(trial.told_ms);
  }
  return view;
}

json event_view(const Event& event, const JobSpec& spec) {
  json view = std::visit([&](const auto& body) { return body_view(body, spec); }, event.body);
  view["time"] = time_text(event.time_ms);
  return view;
}

}  // namespace paretod
