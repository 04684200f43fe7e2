#include "daemon/rest/jobs_api.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "adapters/hash/sha256.hpp"
#include "adapters/json/object_reader.hpp"
#include "adapters/json/parse.hpp"
#include "daemon/jobs/money.hpp"
#include "daemon/rest/json_text.hpp"
#include "daemon/rest/problem.hpp"
#include "daemon/rest/views.hpp"

namespace paretod {
namespace {

using nlohmann::json;

constexpr std::size_t spec_bytes = 1024 * 1024;  // reliability.md section 4
constexpr std::size_t max_key_bytes = 128;
constexpr std::size_t max_reason_bytes = 1000;
constexpr std::uint64_t max_trials = 1'000'000;
constexpr std::uint64_t max_parallelism = 10'000;
constexpr std::int64_t default_export_events = 10'000;
constexpr std::size_t export_bytes = 8 * 1024 * 1024;

const std::vector<std::string> status_names = {"queued", "running",   "paused",  "succeeded",
                                               "failed", "cancelled", "diverged"};

bool printable(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

/// The body as a JSON object; an absent one is empty.
Result<json> read_object(const HttpRequest& request) {
  if (request.body.empty()) return json::object();
  return parse_json(request.body);
}

// ---- create, list, read ------------------------------------------------------------------------

HttpResponse create_job(JobManager& manager, HypervolumeCache& hypervolumes, const Call& call) {
  const std::string key = call.request.header("idempotency-key").value_or("");
  const bool has_key = call.request.header("idempotency-key").has_value();
  if (has_key && (key.empty() || key.size() > max_key_bytes || !printable(key))) {
    return problem_response(problem_types::bad_request,
                            "Idempotency-Key must be 1 to 128 printable ASCII characters.");
  }
  const Result<json> document = parse_json(call.request.body);
  if (!document) return problem_response(document.error(), problem_types::malformed_json);
  Result<JobSpec> spec = job_spec_from_json(*document, manager.catalog());
  if (!spec) return problem_response(spec.error(), problem_types::invalid_spec);
  // Of the parsed document, so that spacing and the order of fields do not count.
  const std::string digest = has_key ? sha256_hex(to_text(*document)) : "";
  const auto created = manager.create(std::move(*spec), key, digest);
  if (!created) return problem_response(created.error());
  HttpResponse response = json_response(
      created->created ? 201 : 200, to_text(job_view(take_snapshot(*created->job, hypervolumes))));
  response.headers.emplace_back("Location", "/v1/jobs/" + created->job->id());
  return response;
}

/// Where a page of the job list begins: behind the job that was created then and has that id.
struct ListPlace {
  std::int64_t created_ms = 0;
  std::string id;
};

std::string page_token(const ListPlace& place) {
  return std::to_string(place.created_ms) + "." + place.id;
}

std::optional<ListPlace> list_place(const std::string& token) {
  ListPlace place;
  const auto [end, error] =
      std::from_chars(token.data(), token.data() + token.size(), place.created_ms);
  const char* const stop = token.data() + token.size();
  if (error != std::errc() || end == stop || *end != '.') return std::nullopt;
  place.id.assign(end + 1, stop);
  if (!valid_job_name(place.id)) return std::nullopt;
  return place;
}

HttpResponse list_jobs(const JobManager& manager, HypervolumeCache& hypervolumes,
                       const Call& call) {
  std::optional<ListPlace> after;
  if (const auto token = call.query.text("page_token")) {
    after = list_place(*token);
    if (!after) {
      return problem_response(problem_types::bad_query, "The page_token is not one of this list.",
                              {{"/query/page_token", "must come from next_page_token"}});
    }
  }
  const auto wanted = call.query.text("status");
  const auto size = static_cast<std::size_t>(call.query.integer("page_size", default_page_size));
  json page{{"jobs", json::array()}};
  ListPlace last;
  for (const auto& job : manager.list()) {
    const ListPlace place{job->with_state([](JobState& state) { return state.created_ms(); }),
                          job->id()};
    const bool seen = after && (place.created_ms > after->created_ms ||
                                (place.created_ms == after->created_ms && place.id <= after->id));
    if (seen || (wanted && name_of(job->status()) != *wanted)) continue;
    if (page["jobs"].size() == size) {
      page["next_page_token"] = page_token(last);
      break;
    }
    page["jobs"].push_back(job_summary(take_snapshot(*job, hypervolumes)));
    last = place;
  }
  if (!manager.unreadable().empty()) {
    for (const auto& [id, error] : manager.unreadable()) {
      page["unreadable"].push_back({{"id", id}, {"message", error.message}});
    }
  }
  return json_response(200, to_text(page));
}

// ---- verbs -------------------------------------------------------------------------------------

Result<PausedEvent> read_pause(const json& body) {
  Problems problems;
  ObjectReader reader(body, "", problems);
  PausedEvent paused{reader.string("reason").value_or("")};
  if (paused.reason.size() > max_reason_bytes) {
    reader.refuse("reason", "must have at most " + std::to_string(max_reason_bytes) + " bytes");
  }
  reader.refuse_others();
  if (!problems.empty()) return invalid("The request is not valid.", std::move(problems));
  if (paused.reason.empty()) paused.reason = "paused on request";
  return paused;
}

/// A cap on tokens or money needs to know the worst case of an attempt.
void read_caps(ObjectReader& fields, const Budget& budget, ExtendedEvent& limits) {
  constexpr auto no_worst_case =
      "cannot be limited: this job was submitted without the worst case of one evaluation";
  limits.evaluation_s = fields.number("evaluation_s");
  if (limits.evaluation_s && (!std::isfinite(*limits.evaluation_s) || *limits.evaluation_s < 0)) {
    fields.refuse("evaluation_s", "must not be negative; 0 is unlimited");
  }
  limits.tokens = fields.count("tokens");
  if (limits.tokens.value_or(0) > 0 && budget.worst_case.tokens == 0) {
    fields.refuse("tokens", no_worst_case);
  }
  if (const auto text = fields.string("money")) {
    const auto money = parse_money(*text);
    if (!money) return fields.refuse("money", money.error().message);
    limits.money_micros = money->micros;
    if (budget.worst_case.money_micros == 0) return fields.refuse("money", no_worst_case);
    if (money->currency != budget.currency) {
      fields.refuse("money", "must be in " + budget.currency + ", as the job's budget");
    }
    if (money->micros == 0) fields.refuse("money", "must be more than nothing");
  }
}

Result<ExtendedEvent> read_limits(const json& body, const Budget& present) {
  Problems problems;
  ObjectReader reader(body, "", problems);
  ExtendedEvent limits;
  limits.reason = "extended on request";
  if (const json* budget = reader.find("budget")) {
    ObjectReader fields(*budget, "/budget", problems);
    limits.trials = fields.count("trials");
    if (limits.trials && (*limits.trials < 1 || *limits.trials > max_trials)) {
      fields.refuse("trials", "must be between 1 and " + std::to_string(max_trials));
    }
    limits.wall_s = fields.number("wall_s");
    if (limits.wall_s && (!std::isfinite(*limits.wall_s) || *limits.wall_s < 0)) {
      fields.refuse("wall_s", "must not be negative; 0 is unlimited");
    }
    read_caps(fields, present, limits);
    fields.refuse_others();
  }
  const auto parallelism = reader.count("parallelism");
  if (parallelism) {
    limits.parallelism = static_cast<std::size_t>(*parallelism);
    if (*parallelism < 1 || *parallelism > max_parallelism) {
      reader.refuse("parallelism", "must be between 1 and " + std::to_string(max_parallelism));
    }
  }
  reader.refuse_others();
  const bool any_cap = limits.evaluation_s || limits.tokens || limits.money_micros;
  if (problems.empty() && !limits.trials && !limits.wall_s && !limits.parallelism && !any_cap) {
    problems.push_back({"",
                        "must have at least one of budget.trials, budget.wall_s, "
                        "budget.evaluation_s, budget.tokens, budget.money and parallelism"});
  }
  if (!problems.empty()) return invalid("The request is not valid.", std::move(problems));
  return limits;
}

Result<void> read_nothing(const json& body) {
  Problems problems;
  ObjectReader reader(body, "", problems);
  reader.refuse_others();
  if (!problems.empty()) return invalid("The request is not valid.", std::move(problems));
  return {};
}

/// What a verb does with its body.
using Verb = std::function<Result<void>(Job&, const json& body)>;

HttpResponse apply_verb(const JobManager& manager, HypervolumeCache& hypervolumes, const Verb& verb,
                        const Call& call) {
  const auto job = find_job(manager, call);
  if (!job) return problem_response(job.error());
  const Result<json> body = read_object(call.request);
  if (!body) return problem_response(body.error(), problem_types::malformed_json);
  if (const auto done = verb(**job, *body); !done) return problem_response(done.error());
  return json_response(200, to_text(job_view(take_snapshot(**job, hypervolumes))));
}

Result<void> pause(Job& job, const json& body) {
  const auto paused = read_pause(body);
  return paused ? job.pause(paused->reason) : paused.error();
}

Result<void> resume(Job& job, const json& body) {
  const auto read = read_nothing(body);
  return read ? job.resume() : read;
}

Result<void> cancel(Job& job, const json& body) {
  const auto read = read_nothing(body);
  return read ? job.cancel() : read;
}

Result<void> extend(Job& job, const json& body) {
  const auto limits =
      read_limits(body, job.with_state([](JobState& state) { return state.budget(); }));
  return limits ? job.extend(*limits) : limits.error();
}

// ---- events and the log ------------------------------------------------------------------------

/// An event id given by the client, if any.
Result<std::optional<EventId>> event_id(const std::optional<std::string>& text,
                                        const std::string& pointer) {
  if (!text) return std::optional<EventId>();
  const auto id = EventId::parse(*text);
  if (!id) {
    return invalid("The event id is malformed.",
                   {{pointer, "must be two numbers with a hyphen, such as 1-250"}});
  }
  return id;
}

HttpResponse follow_events(const JobManager& manager, EventFeed& feed, const Call& call) {
  const auto job = find_job(manager, call);
  if (!job) return problem_response(job.error());
  // A client that reconnects repeats its first URL, so the header is the newer of the two.
  const auto resumed = event_id(call.request.header("last-event-id"), "/headers/last-event-id");
  if (!resumed) return problem_response(resumed.error(), problem_types::bad_request);
  const auto started = event_id(call.query.text("after"), "/query/after");
  if (!started) return problem_response(started.error(), problem_types::bad_query);
  HttpResponse response;
  response.stream = feed.open(*job, *resumed ? *resumed : *started);
  if (response.stream) {
    response.content_type = "text/event-stream";
  } else {
    response.status = 204;
  }
  return response;
}

HttpResponse export_log(JobManager& manager, const Call& call) {
  const auto job = find_job(manager, call);
  if (!job) return problem_response(job.error());
  const auto after = event_id(call.query.text("after"), "/query/after");
  if (!after) return problem_response(after.error(), problem_types::bad_query);
  const auto limit = static_cast<std::size_t>(call.query.integer("limit", default_export_events));
  std::string lines;
  std::size_t count = 0;
  EventId last = after->value_or(EventId{});
  const auto top =
      manager.backend().read((*job)->id(), last, [&](EventId id, std::string_view text) {
        if (count == limit || lines.size() >= export_bytes) return false;
        lines.append("{\"id\":\"").append(id.text()).append("\",\"event\":").append(text);
        lines += "}\n";
        last = id;
        ++count;
        return true;
      });
  if (!top) return problem_response(top.error());
  HttpResponse response = json_response(200, std::move(lines));
  response.content_type = "application/x-ndjson";
  if (last < *top) response.headers.emplace_back("Paretod-Next", last.text());
  return response;
}

std::vector<Operation> verb_operations(JobManager& manager, HypervolumeCache& hypervolumes) {
  struct Entry {
    std::string name;
    std::string summary;
    std::string body_schema;
    bool body_required;
    Verb verb;
  };
  const std::vector<Entry> entries = {
      {"pause", "Stops starting trials; what runs is still recorded.", "PauseRequest", false,
       pause},
      {"resume", "Lets a paused job go on.", "EmptyRequest", false, resume},
      {"cancel", "Ends a job for good; its results stay.", "EmptyRequest", false, cancel},
      {"extend", "Changes the limits of a job that is not finished.", "ExtendRequest", true,
       extend}};
  std::vector<Operation> operations;
  for (const Entry& entry : entries) {
    operations.push_back(
        {.method = "POST",
         .pattern = "/v1/jobs/{job}:" + entry.name,
         .name = entry.name + "Job",
         .summary = entry.summary,
         .body_schema = entry.body_schema,
         .body_required = entry.body_required,
         .answers = {{200, "The job as it is now.", "Job"},
                     problem_answer(400, "The body is not JSON."),
                     problem_answer(404, "There is no such job."),
                     problem_answer(409, "The job's status does not allow it."),
                     problem_answer(422, "A field of the body is not valid.")},
         .handler = [&manager, &hypervolumes, verb = entry.verb](const Call& call) {
           return apply_verb(manager, hypervolumes, verb, call);
         }});
  }
  return operations;
}

}  // namespace

Result<std::shared_ptr<Job>> find_job(const JobManager& manager, const Call& call) {
  const std::string& id = call.path.at("job");
  if (auto job = manager.find(id)) return job;
  for (const auto& [unreadable, error] : manager.unreadable()) {
    if (unreadable == id) {
      return Error{ErrorKind::corrupt, "the log of this job cannot be read: " + error.message};
    }
  }
  return Error{ErrorKind::not_found, "there is no job \"" + id + "\""};
}

std::vector<Operation> job_operations(JobManager& manager, EventFeed& feed,
                                      HypervolumeCache& hypervolumes) {
  std::vector<QueryField> list_fields = page_fields();
  list_fields.push_back(QueryField::choice("status", "Only jobs of this status.", status_names));
  std::vector<Operation> operations = {
      {.method = "POST",
       .pattern = "/v1/jobs",
       .name = "createJob",
       .summary = "Submits a job.",
       .headers =
           {{"Idempotency-Key",
             "1 to 128 printable characters; a repeat of the request returns the same job."}},
       .body_schema = "JobSpec",
       .body_required = true,
       .body_limit = spec_bytes,
       .answers = {{201, "The new job; Location names it.", "Job"},
                   {200, "The job that an earlier request with this key created.", "Job"},
                   problem_answer(400, "The body is not JSON."),
                   problem_answer(409, "The key was used with another body."),
                   problem_answer(422, "The spec is not valid; each offending field is named."),
                   problem_answer(429, "As many jobs as allowed are stored."),
                   problem_answer(503, "The log cannot be written now.")},
       .handler = [&](const Call& call) { return create_job(manager, hypervolumes, call); }},
      {.method = "GET",
       .pattern = "/v1/jobs",
       .name = "listJobs",
       .summary = "Lists jobs, newest first.",
       .query = list_fields,
       .answers = {{200, "A page of jobs, without spec and report.", "JobList"},
                   problem_answer(400, "The query is not valid.")},
       .handler = [&](const Call& call) { return list_jobs(manager, hypervolumes, call); }},
      {.method = "GET",
       .pattern = "/v1/jobs/{job}",
       .name = "getJob",
       .summary = "Shows a job: spec, progress, conditions, report.",
       .answers = {{200, "The job.", "Job"}, problem_answer(404, "There is no such job.")},
       .handler =
           [&](const Call& call) {
             const auto job = find_job(manager, call);
             if (!job) return problem_response(job.error());
             return json_response(200, to_text(job_view(take_snapshot(**job, hypervolumes))));
           }},
      {.method = "GET",
       .pattern = "/v1/jobs/{job}/events",
       .name = "followEvents",
       .summary = "Follows a job's events (server-sent events) until it is finished.",
       .query = {QueryField::text("after", "Id of the last event seen; without it, from now on.")},
       .headers = {{"Last-Event-ID", "As the query parameter after, which it overrides."}},
       .answers = {{200, "The events; data is one JSON object each.", "", "text/event-stream"},
                   {204, "The client has the last event of a finished job.", "", ""},
                   problem_answer(400, "The event id is malformed."),
                   problem_answer(404, "There is no such job."),
                   problem_answer(503, "There are as many clients as allowed.")},
       .handler = [&](const Call& call) { return follow_events(manager, feed, call); }},
      {.method = "GET",
       .pattern = "/v1/jobs/{job}/export",
       .name = "exportLog",
       .summary = "Exports a job's raw log, one event per line.",
       .query = {QueryField::text("after", "Id of the last event that is not wanted."),
                 QueryField::integer("limit", "How many events at most.", 1, 100'000)},
       .answers = {{200, "Events; Paretod-Next holds the next `after` if there are more.", "",
                    "application/x-ndjson"},
                   problem_answer(400, "The query is not valid."),
                   problem_answer(404, "There is no such job.")},
       .handler = [&](const Call& call) { return export_log(manager, call); }}};
  for (Operation& verb : verb_operations(manager, hypervolumes)) {
    operations.push_back(std::move(verb));
  }
  return operations;
}

}  // namespace paretod
