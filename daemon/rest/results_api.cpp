#include "daemon/rest/results_api.hpp"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "daemon/rest/history_view.hpp"
#include "daemon/rest/jobs_api.hpp"
#include "daemon/rest/json_text.hpp"
#include "daemon/rest/problem.hpp"
#include "daemon/rest/views.hpp"

namespace paretod {
namespace {

using nlohmann::json;

constexpr std::int64_t default_front_points = 1'000;
constexpr std::int64_t max_front_points = 10'000;
constexpr std::int64_t default_history_points = 200;
constexpr std::int64_t max_history_points = 1'000;
/// Trials looked through per holding of the job's lock.
constexpr std::size_t trials_per_lock = 4'096;

std::optional<std::uint64_t> whole_number(std::string_view text) {
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || text.empty()) return std::nullopt;
  return value;
}

// ---- front -------------------------------------------------------------------------------------

/// Whether an If-None-Match field lists the tag (weak comparison, RFC 9110 section 13.1.2).
bool lists_tag(std::string_view field, std::string_view tag) {
  while (!field.empty()) {
    std::string_view item = field.substr(0, field.find(','));
    field.remove_prefix(std::min(field.size(), item.size() + 1));
    while (!item.empty() && item.front() == ' ') item.remove_prefix(1);
    while (!item.empty() && item.back() == ' ') item.remove_suffix(1);
    if (item == "*" || item == tag || (item.substr(0, 2) != "W/" && item == tag.substr(2))) {
      return true;
    }
  }
  return false;
}

HttpResponse get_front(const JobManager& manager, FrontWriter& fronts, const Call& call) {
  const auto job = find_job(manager, call);
  if (!job) return problem_response(job.error());
  const auto limit = static_cast<std::size_t>(call.query.integer("limit", default_front_points));
  const std::string format = call.query.text("format").value_or("json");
  const FrontHead head = front_head(**job);
  const std::string tag = "W/\"" + std::to_string(head.version) + "-" +
                          std::string(name_of(head.status)) + "-" + format + "-" +
                          std::to_string(limit) + "\"";
  HttpResponse response;
  if (lists_tag(call.request.header("if-none-match").value_or(""), tag)) {
    response.status = 304;
  } else if (format == "csv") {
    response.content_type = "text/csv; charset=utf-8; header=present";
    response.body = front_csv(**job, limit);
  } else {
    response = json_response(200, fronts.json(**job, limit));
  }
  response.headers.emplace_back("ETag", tag);
  response.headers.emplace_back("Cache-Control", "no-cache");
  return response;
}

// ---- trials ------------------------------------------------------------------------------------

/// "asked" is a status of trials that were not told yet.
bool has_status(const TrialRecord& trial, const std::string& status) {
  return trial.outcome ? name_of(trial.outcome->status) == status : status == "asked";
}

HttpResponse list_trials(const JobManager& manager, const Call& call) {
  const auto job = find_job(manager, call);
  if (!job) return problem_response(job.error());
  std::optional<std::uint64_t> next = 0;
  if (const auto token = call.query.text("page_token")) next = whole_number(*token);
  if (!next) {
    return problem_response(problem_types::bad_query, "The page_token is not one of this list.",
                            {{"/query/page_token", "must come from next_page_token"}});
  }
  const auto size = static_cast<std::size_t>(call.query.integer("page_size", default_page_size));
  const auto status = call.query.text("status");
  std::vector<std::pair<TrialNumber, TrialRecord>> found;
  std::size_t place = *next;
  bool more = true;
  while (more && found.size() <= size) {
    (*job)->with_state([&](JobState& state) {
      const auto& trials = state.trials();
      const std::size_t end = std::min(trials.size(), place + trials_per_lock);
      for (; place < end && found.size() <= size; ++place) {
        if (!status || has_status(trials[place], *status)) {
          found.emplace_back(place + 1, trials[place]);
        }
      }
      more = place < trials.size();
    });
  }
  json page{{"trials", json::array()}};
  if (found.size() > size) {
    page["next_page_token"] = std::to_string(found.back().first - 1);
    found.pop_back();
  }
  const JobSpec& spec = spec_of(**job);
  for (const auto& [number, trial] : found) {
    page["trials"].push_back(trial_view(number, trial, spec));
  }
  return json_response(200, to_text(page));
}

HttpResponse get_trial(const JobManager& manager, const Call& call) {
  const auto job = find_job(manager, call);
  if (!job) return problem_response(job.error());
  const auto number = whole_number(call.path.at("trial"));
  std::optional<TrialRecord> trial;
  if (number && *number > 0) {
    trial = (*job)->with_state([&](JobState& state) {
      return *number <= state.trials().size() ? std::optional(state.trials()[*number - 1])
                                              : std::nullopt;
    });
  }
  if (!trial) {
    return problem_response(
        Error{ErrorKind::not_found, "the job has no trial \"" + call.path.at("trial") + "\""});
  }
  return json_response(200, to_text(trial_view(*number, *trial, spec_of(**job))));
}

// ---- history -----------------------------------------------------------------------------------

HttpResponse get_history(const JobManager& manager, const Call& call) {
  const auto job = find_job(manager, call);
  if (!job) return problem_response(job.error());
  const auto points =
      static_cast<std::size_t>(call.query.integer("points", default_history_points));
  const auto [created_ms, final] = (*job)->with_state(
      [](JobState& state) { return std::pair(state.created_ms(), is_final(state.status())); });
  return json_response(200, to_text(history_view(history_samples(**job), spec_of(**job).objectives,
                                                 created_ms, final, points)));
}

}  // namespace

std::vector<Operation> result_operations(JobManager& manager, FrontWriter& fronts) {
  std::vector<QueryField> trial_fields = page_fields();
  trial_fields.push_back(QueryField::choice("status", "Only trials of this status.",
                                            {"asked", "ok", "infeasible", "failed", "unknown"}));
  return {
      {.method = "GET",
       .pattern = "/v1/jobs/{job}/front",
       .name = "getFront",
       .summary = "Shows the non-dominated measured points, sorted by the objectives.",
       .query = {QueryField::integer("limit", "How many points at most, evenly spread.", 1,
                                     max_front_points),
                 QueryField::choice("format", "json is the default.", {"json", "csv"})},
       .headers = {{"If-None-Match", "The ETag of an earlier answer."}},
       .answers = {{200, "The front; ETag changes with it. With format=csv, text/csv.", "Front"},
                   {304, "The front has not changed.", "", ""},
                   problem_answer(400, "The query is not valid."),
                   problem_answer(404, "There is no such job.")},
       .handler = [&](const Call& call) { return get_front(manager, fronts, call); }},
      {.method = "GET",
       .pattern = "/v1/jobs/{job}/trials",
       .name = "listTrials",
       .summary = "Lists trials by number.",
       .query = trial_fields,
       .answers = {{200, "A page of trials.", "TrialList"},
                   problem_answer(400, "The query is not valid."),
                   problem_answer(404, "There is no such job.")},
       .handler = [&](const Call& call) { return list_trials(manager, call); }},
      {.method = "GET",
       .pattern = "/v1/jobs/{job}/trials/{trial}",
       .name = "getTrial",
       .summary = "Shows one trial.",
       .answers = {{200, "The trial.", "Trial"},
                   problem_answer(404, "There is no such job or trial.")},
       .handler = [&](const Call& call) { return get_trial(manager, call); }},
      {.method = "GET",
       .pattern = "/v1/jobs/{job}/history",
       .name = "getHistory",
       .summary = "Shows the best value (one objective) or the hypervolume over the told trials.",
       .query = {QueryField::integer("points", "How many rows at most.", 2, max_history_points)},
       .answers = {{200, "The history.", "History"},
                   problem_answer(400, "The query is not valid."),
                   problem_answer(404, "There is no such job.")},
       .handler = [&](const Call& call) { return get_history(manager, call); }}};
}

}  // namespace paretod
