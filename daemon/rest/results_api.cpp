#include "daemon/rest/results_api.hpp"

#include <algorithm>
#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "adapters/hash/sha256.hpp"
#include "adapters/json/outcome_json.hpp"
#include "daemon/rest/etag.hpp"
#include "daemon/rest/history_view.hpp"
#include "daemon/rest/jobs_api.hpp"
#include "daemon/rest/json_text.hpp"
#include "daemon/rest/problem.hpp"
#include "daemon/rest/surrogate_api.hpp"
#include "daemon/rest/views.hpp"
#include "daemon/store/attempt_logs.hpp"

namespace paretod {
namespace {

using nlohmann::json;

constexpr std::int64_t default_front_points = 1'000;
constexpr std::int64_t max_front_points = 10'000;
constexpr std::int64_t max_trial = std::numeric_limits<std::int32_t>::max();
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

/// What the answer to a question may depend on.  A front at an earlier time stays as it was; what
/// is plausible may change with any trial.
std::string tag_of(const FrontHead& head, const FrontRequest& request, const NameValues& query) {
  std::string state =
      request.at ? "at" + std::to_string(*request.at) : std::to_string(head.version);
  if (request.query.confidence > 0 && !request.at) state += "-" + std::to_string(head.told);
  return "W/\"" + state + "-" + std::string(name_of(head.status)) + "-" + query_digest(query) +
         "\"";
}

FrontQuestion question_of(const QueryValues& query) {
  return {.preference = query.text("preference"),
          .method = query.text("method"),
          .reference_point = query.text("reference_point"),
          .where = query.texts("where"),
          .confidence = query.text("confidence"),
          .knee = query.flag("knee")};
}

/// What is wrong with asking for the front as of a trial; empty if nothing is.
std::string check_at(Job& job, TrialNumber trial) {
  return job.with_state([&](JobState& state) -> std::string {
    const auto& trials = state.trials();
    if (trial <= trials.size() && trials[trial - 1].outcome) return "";
    return "trial " + std::to_string(trial) + " has not been told; name one of the " +
           std::to_string(state.told_order().size()) + " that have been";
  });
}

HttpResponse get_front(const JobManager& manager, FrontWriter& fronts, SurrogateDesk& surrogates,
                       const Call& call) {
  const auto job = find_job(manager, call);
  if (!job) return problem_response(job.error());
  const FrontHead head = front_head(**job);
  auto query = read_front_query(question_of(call.query), head.spec->objectives);
  if (!query) return problem_response(query.error(), problem_types::bad_query);
  FrontRequest request;
  request.query = std::move(*query);
  request.limit = static_cast<std::size_t>(call.query.integer("limit", default_front_points));
  if (call.query.text("source") == "predicted") {
    return predicted_front(surrogates, *job, std::move(request.query), request.limit, call);
  }
  if (call.query.text("at")) {
    request.at = static_cast<TrialNumber>(call.query.integer("at", 0));
    if (std::string problem = check_at(**job, *request.at); !problem.empty()) {
      return problem_response(problem_types::bad_query, "The query is not valid: at.",
                              {{"/query/at", std::move(problem)}});
    }
  }
  const std::string tag = tag_of(head, request, call.request.query);
  HttpResponse response;
  if (lists_tag(call.request.header("if-none-match").value_or(""), tag)) {
    response.status = 304;
  } else if (call.query.text("format") == "csv") {
    response.content_type = "text/csv; charset=utf-8; header=present";
    response.body = fronts.csv(**job, request);
  } else {
    response = json_response(200, fronts.json(**job, request));
  }
  response.headers.emplace_back("ETag", tag);
  response.headers.emplace_back("Cache-Control", "no-cache");
  return response;
}

std::vector<QueryField> front_fields() {
  QueryField where = QueryField::text(
      "where",
      "Only points of the front that meet these constraints on objectives: NAME, one of >= <= < > "
      "=, and a number in the objective's own sign, such as acc>=0.8; several separated by commas "
      "or as several where.");
  where.repeatable = true;
  return {
      QueryField::text("preference",
                       "Choose by weights per objective, such as fd:0.7,time:0.3; what is not "
                       "named weighs 0, and the weights are normalised. Objectives are scaled to "
                       "the front's ideal and nadir first."),
      QueryField::choice("method",
                         "How a preference chooses: chebyshev (the default) takes the smallest "
                         "max(w z) + 0.001 sum(w z) of the scaled objectives z, weighted_sum the "
                         "smallest sum(w z).",
                         {"chebyshev", "weighted_sum"}),
      QueryField::text("reference_point",
                       "Choose by values to reach, such as fd:0.4,time:2: the point with the "
                       "smallest achievement max(d) + 0.001 sum(d), where d is how far it stays "
                       "behind each value, in parts of the front's range."),
      QueryField::flag("knee",
                       "Choose the point farthest below the line between the ends of the front; "
                       "with more than two objectives, below the plane through the points that "
                       "are worst in one scaled objective and best in the others."),
      std::move(where),
      QueryField::integer("at", "The front as of the moment this trial was told.", 1, max_trial),
      QueryField::text("confidence",
                       "Also lists the points off the front that no member dominates with this "
                       "confidence (at least 0.5, less than 1): a member does when it is better "
                       "in every objective by z sqrt(se^2 + se'^2) or more, z being the quantile "
                       "of the standard normal distribution."),
      QueryField::integer("limit",
                          "How many points at most: evenly spread, with more than two objectives "
                          "each as far from the others as possible.",
                          1, max_front_points),
      QueryField::choice("source",
                         "measured (the default), or predicted by the optimizer's surrogate: "
                         "nothing there is measured, and a preference, reference_point or knee is "
                         "solved between the listed points.",
                         {"measured", "predicted"}),
      QueryField::choice("format", "json is the default.", {"json", "csv"})};
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
  const JobSpec& spec = spec_of(**job);
  json view = trial_view(*number, *trial, spec);
  if (const auto progress = (*job)->progress_of(*number)) {
    view["progress"] = {{"done", progress->done},
                        {"objectives", to_json(progress->partial, spec.objectives)["objectives"]}};
  }
  return json_response(200, to_text(view));
}

HttpResponse get_trial_log(const JobManager& manager, const AttemptLogs* logs, const Call& call) {
  const auto job = find_job(manager, call);
  if (!job) return problem_response(job.error());
  const auto number = whole_number(call.path.at("trial"));
  json view{{"trial", number.value_or(0)}, {"attempts", json::array()}};
  if (number && logs != nullptr) {
    for (const AttemptLogs::Log& log : logs->of((*job)->id(), *number)) {
      view["attempts"].push_back({{"attempt", log.attempt}, {"log", log.text}});
    }
  }
  return json_response(200, to_text(view));
}

HttpResponse get_trial_recipe(const JobManager& manager, const Call& call) {
  const auto job = find_job(manager, call);
  if (!job) return problem_response(job.error());
  const auto number = whole_number(call.path.at("trial"));
  std::optional<Candidate> candidate;
  if (number && *number > 0) {
    candidate = (*job)->with_state([&](JobState& state) {
      return *number <= state.trials().size() ? std::optional(state.trials()[*number - 1].candidate)
                                              : std::nullopt;
    });
  }
  if (!candidate) {
    return problem_response(
        Error{ErrorKind::not_found, "the job has no trial \"" + call.path.at("trial") + "\""});
  }
  const auto* named = manager.catalog().evaluator(spec_of(**job).evaluator);
  if (named == nullptr) {
    return problem_response(
        Error{ErrorKind::not_found, "the job's evaluator is not configured any more"});
  }
  const auto recipe = named->evaluator->recipe(*(*job)->context(), *candidate);
  if (!recipe) {
    Error error = recipe.error();
    if (error.kind == ErrorKind::not_found) {
      error.message += "; trials of the evaluator types \"merge\" and \"diffusion\" stand for one";
    }
    return problem_response(error);
  }
  return json_response(200, *recipe);
}

// ---- history -----------------------------------------------------------------------------------

/// The reference point of the query, minimised; nothing when it has none.
Result<std::optional<std::vector<double>>> read_reference(
    const QueryValues& query, const std::vector<Objective>& objectives) {
  const auto text = query.text("reference_point");
  if (!text) return std::optional<std::vector<double>>();
  const std::string pointer = "/query/reference_point";
  const std::string message = "The query is not valid: reference_point.";
  if (objectives.size() == 1) {
    return invalid(message,
                   {{pointer, "a job with one objective has no hypervolume; leave it out"}});
  }
  auto values = read_objective_values(*text, objectives, pointer);
  if (!values) return invalid(message, values.error().problems);
  std::vector<double> reference;
  Problems problems;
  for (std::size_t i = 0; i < objectives.size(); ++i) {
    reference.push_back((*values)[i].value_or(0));
    if (!(*values)[i]) {
      problems.push_back({pointer, "has no value for " + objectives[i].name +
                                       "; a hypervolume needs one for every objective"});
    }
  }
  if (!problems.empty()) return invalid(message, std::move(problems));
  return std::optional(flip_signs(std::move(reference), objectives));
}

HttpResponse get_history(const JobManager& manager, ToldCache& told, const Call& call) {
  const auto job = find_job(manager, call);
  if (!job) return problem_response(job.error());
  const auto& objectives = spec_of(**job).objectives;
  auto reference = read_reference(call.query, objectives);
  if (!reference) return problem_response(reference.error(), problem_types::bad_query);
  HistoryRequest request;
  request.points = static_cast<std::size_t>(call.query.integer("points", default_history_points));
  request.reference = std::move(*reference);
  (*job)->with_state([&](JobState& state) {
    request.created_ms = state.created_ms();
    request.currency = state.budget().currency;
    request.final = is_final(state.status());
  });
  return json_response(200, told.with(**job, [&](const ToldColumns& columns) {
    return to_text(history_view(columns, objectives, request));
  }));
}

}  // namespace

std::vector<Operation> result_operations(JobManager& manager, FrontWriter& fronts,
                                         SurrogateDesk& surrogates, ToldCache& told,
                                         const AttemptLogs* logs) {
  std::vector<QueryField> trial_fields = page_fields();
  trial_fields.push_back(QueryField::choice("status", "Only trials of this status.",
                                            {"asked", "ok", "infeasible", "failed", "unknown"}));
  return {
      {.method = "GET",
       .pattern = "/v1/jobs/{job}/front",
       .name = "getFront",
       .summary =
           "Shows the non-dominated measured points, sorted by the objectives, and chooses among "
           "them by preference, reference_point or knee; or, with source=predicted, the front that "
           "the optimizer's surrogate predicts. Costs no evaluation, whatever the job does "
           "meanwhile.",
       .query = front_fields(),
       .headers = {{"If-None-Match", "The ETag of an earlier answer."}},
       .answers = {{200, "The front; ETag changes with it. With format=csv, text/csv.", "Front"},
                   {304, "The front has not changed.", "", ""},
                   problem_answer(400, "The query is not valid."),
                   problem_answer(404, "There is no such job."),
                   problem_answer(409, "source=predicted: the job has no surrogate, or none yet.")},
       .handler = [&](const Call& call) { return get_front(manager, fronts, surrogates, call); }},
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
       .pattern = "/v1/jobs/{job}/trials/{trial}/log",
       .name = "getTrialLog",
       .summary = "Shows what the attempts at a trial wrote to stderr; the newest are kept.",
       .answers = {{200, "The attempts that wrote something.", "TrialLog"},
                   problem_answer(404, "There is no such job.")},
       .handler = [&manager,
                   logs](const Call& call) { return get_trial_log(manager, logs, call); }},
      {.method = "GET",
       .pattern = "/v1/jobs/{job}/trials/{trial}/recipe",
       .name = "getTrialRecipe",
       .summary = "Shows the recipe of the model that a trial stands for, where the evaluator "
                  "merges models; its paths are those of the daemon's machine.",
       .answers = {{200, "The recipe, as `paretod merge` takes it.", "MergeRecipe"},
                   problem_answer(404,
                                  "There is no such job or trial, or its evaluator merges no "
                                  "models.")},
       .handler = [&](const Call& call) { return get_trial_recipe(manager, call); }},
      {.method = "GET",
       .pattern = "/v1/jobs/{job}/history",
       .name = "getHistory",
       .summary =
           "Shows the best values and the hypervolume over the told trials, by trial, by time and "
           "by evaluation seconds spent.",
       .query = {QueryField::integer("points", "How many rows at most.", 2, max_history_points),
                 QueryField::text("reference_point",
                                  "The hypervolume's reference point, a value per objective such "
                                  "as fd:2,time:10; without it, the worst of the first 20 ok "
                                  "trials.")},
       .answers = {{200, "The history.", "History"},
                   problem_answer(400, "The query is not valid."),
                   problem_answer(404, "There is no such job.")},
       .handler = [&](const Call& call) { return get_history(manager, told, call); }}};
}

}  // namespace paretod
