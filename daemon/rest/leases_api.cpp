#include "daemon/rest/leases_api.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "adapters/json/object_reader.hpp"
#include "adapters/json/parse.hpp"
#include "daemon/rest/jobs_api.hpp"
#include "daemon/rest/json_text.hpp"
#include "daemon/rest/problem.hpp"
#include "evaluators/process/protocol.hpp"
#include "evaluators/process/text.hpp"

namespace paretod {
namespace {

using nlohmann::json;

constexpr std::uint64_t most_leases = 1'000;
constexpr std::size_t most_results = 1'000;
constexpr double longest_wait_s = 25;
constexpr double longest_ttl_s = 7 * 24 * 3600;
constexpr std::size_t longest_name = 128;
constexpr std::size_t results_bytes = 16 * 1024 * 1024;
constexpr std::size_t heartbeat_bytes = 4 * 1024 * 1024;
constexpr double ask_wait_s = 10;
constexpr double ask_ttl_s = 3600;

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

/// A defect of the body, or the problem with its pointers.
std::optional<HttpResponse> refusal(const Problems& problems) {
  if (problems.empty()) return std::nullopt;
  return problem_response(problem_types::invalid_request, "The request is not valid.", problems);
}

std::string read_name(ObjectReader& reader, const char* name) {
  std::string text = reader.string(name).value_or("");
  if (text.size() > longest_name || text != printable_text(text, longest_name)) {
    reader.refuse(name,
                  "must be printable text of at most " + std::to_string(longest_name) + " bytes");
  }
  return text;
}

double read_seconds(ObjectReader& reader, const char* name, double fallback, double longest) {
  const double seconds = reader.number(name).value_or(fallback);
  if (!(seconds >= 0 && seconds <= longest)) {
    reader.refuse(name, "must be 0 to " + std::to_string(static_cast<int>(longest)) + " seconds");
  }
  return seconds;
}

// ---- lease -------------------------------------------------------------------------------------

/// The evaluate message as workers get it, within the answer.
std::string lease_text(const Lease& lease, const EvaluatorDescription& declared) {
  std::string message = evaluate_line(lease.request, declared);
  message.pop_back();  // the end of the line
  return "{\"lease\":" + json(lease.name).dump() +
         ",\"job\":" + json(lease.request.context->job).dump() +
         ",\"trial\":" + std::to_string(lease.request.trial) +
         ",\"attempt\":" + std::to_string(lease.request.attempt) + ",\"request\":" + message + "}";
}

HttpResponse leases_response(const std::vector<Lease>& leases, const EvaluatorDescription& declared,
                             double ttl_s) {
  std::string body = "{\"leases\":[";
  for (const Lease& lease : leases) {
    if (body.back() != '[') body += ',';
    body += lease_text(lease, declared);
  }
  body += "],\"ttl_s\":" + json(ttl_s).dump() + "}";
  return json_response(200, std::move(body));
}

HttpResponse lease_later(JobManager& manager, LeaseWanted wanted, const std::string& request) {
  const auto* evaluator = manager.catalog().evaluator(wanted.evaluator);
  const auto ttl = wanted.ttl.count() > 0 ? wanted.ttl : manager.lease_desk().ttl();
  const double ttl_s = std::chrono::duration<double>(ttl).count();
  HttpResponse response;
  response.deferred = std::make_shared<DeferredResponse>();
  manager.lease_desk().lease(
      std::move(wanted), request,
      [later = response.deferred, evaluator, ttl_s](const LeaseDesk::Leases& leases) {
        later->set(leases_response(*leases, evaluator->description, ttl_s));
      });
  return response;
}

HttpResponse lease(JobManager& manager, const Call& call) {
  const Result<json> body = parse_json(call.request.body);
  if (!body) return problem_response(body.error(), problem_types::malformed_json);
  Problems problems;
  ObjectReader reader(*body, "", problems);
  LeaseWanted wanted;
  if (reader.require("worker") != nullptr) wanted.worker = read_name(reader, "worker");
  if (reader.require("evaluator") != nullptr) wanted.evaluator = read_name(reader, "evaluator");
  wanted.job = read_name(reader, "job");
  const std::string request = read_name(reader, "request");
  wanted.count = static_cast<std::size_t>(reader.count("count").value_or(1));
  if (wanted.count < 1 || wanted.count > most_leases) {
    reader.refuse("count", "must be 1 to " + std::to_string(most_leases));
  }
  wanted.patience = milliseconds(read_seconds(reader, "wait_s", 0, longest_wait_s));
  // A worker says that it is alive as often as the daemon wants.
  const auto usual = manager.lease_desk().ttl();
  const auto ttl = milliseconds(read_seconds(reader, "ttl_s", 0, longest_ttl_s));
  wanted.ttl = ttl.count() > 0 ? std::min(ttl, usual) : usual;
  const auto* evaluator = manager.catalog().evaluator(wanted.evaluator);
  if (problems.empty() && wanted.worker.empty()) reader.refuse("worker", "must not be empty");
  if (problems.empty() && evaluator == nullptr) {
    reader.refuse("evaluator",
                  "no evaluator of this daemon is called \"" + wanted.evaluator + "\"");
  } else if (problems.empty() && !evaluator->description.leased) {
    reader.refuse("evaluator", "evaluator \"" + wanted.evaluator +
                                   "\" runs within this daemon; workers serve those of type "
                                   "\"workers\"");
  }
  reader.refuse_others();
  if (auto refused = refusal(problems)) return std::move(*refused);
  return lease_later(manager, std::move(wanted), request);
}

HttpResponse ask(JobManager& manager, const Call& call) {
  static std::atomic<std::uint64_t> unnamed = 0;
  const auto job = find_job(manager, call);
  if (!job) return problem_response(job.error());
  const Result<json> body =
      call.request.body.empty() ? json::object() : parse_json(call.request.body);
  if (!body) return problem_response(body.error(), problem_types::malformed_json);
  Problems problems;
  ObjectReader reader(*body, "", problems);
  LeaseWanted wanted;
  wanted.job = (*job)->id();
  wanted.evaluator = (*job)->with_state([](JobState& state) { return state.spec().evaluator; });
  const std::string request = read_name(reader, "request");
  wanted.worker =
      "ask:" + wanted.job + ":" + (request.empty() ? std::to_string(++unnamed) : request);
  wanted.count = static_cast<std::size_t>(reader.count("count").value_or(1));
  if (wanted.count < 1 || wanted.count > most_leases) {
    reader.refuse("count", "must be 1 to " + std::to_string(most_leases));
  }
  wanted.patience = milliseconds(read_seconds(reader, "wait_s", ask_wait_s, longest_wait_s));
  wanted.ttl = milliseconds(read_seconds(reader, "ttl_s", ask_ttl_s, longest_ttl_s));
  reader.refuse_others();
  if (auto refused = refusal(problems)) return std::move(*refused);
  const auto* evaluator = manager.catalog().evaluator(wanted.evaluator);
  if (evaluator == nullptr || !evaluator->description.leased) {
    return problem_response(problem_types::conflict,
                            "evaluator \"" + wanted.evaluator +
                                "\" evaluates this job within the daemon; submit a job with "
                                "evaluator \"external\" to evaluate it yourself");
  }
  const JobStatus status = (*job)->status();
  const bool verifying =
      (*job)->with_state([](JobState& state) { return !state.open_injections().empty(); });
  if (is_final(status) && !verifying) {
    return problem_response(problem_types::conflict,
                            "the job is over: it is " + std::string(name_of(status)));
  }
  return lease_later(manager, std::move(wanted), request);
}

// ---- heartbeat, result, release ----------------------------------------------------------------

std::vector<std::string> read_leases(ObjectReader& reader) {
  auto leases = reader.strings("leases").value_or(std::vector<std::string>{});
  if (leases.size() > most_leases) {
    reader.refuse("leases", "must be at most " + std::to_string(most_leases));
  }
  return leases;
}

/// Items of {"lease":..,"message":{..}} as replies; those of leases that are not this daemon's are
/// taken for empty results.
std::vector<std::pair<std::string, EvaluationReply>> read_messages(const LeaseDesk& desk,
                                                                   ObjectReader& reader,
                                                                   const char* name, bool progress,
                                                                   Problems& problems) {
  std::vector<std::pair<std::string, EvaluationReply>> replies;
  const json* list = reader.find(name);
  if (list == nullptr) return replies;
  if (!list->is_array() || list->size() > most_results) {
    reader.refuse(name, "must be an array of at most " + std::to_string(most_results));
    return replies;
  }
  for (std::size_t i = 0; i < list->size(); ++i) {
    const std::string at = "/" + std::string(name) + "/" + std::to_string(i);
    ObjectReader item((*list)[i], at, problems);
    std::string lease;
    if (item.require("lease") != nullptr) lease = item.string("lease").value_or("");
    const json* message = item.require("message");
    const std::string log = item.string("log").value_or("");
    item.refuse_others();
    if (message == nullptr) continue;
    auto read = parse_message(message->dump(-1, ' ', false, json::error_handler_t::replace));
    const auto job = desk.job_of(lease);
    EvaluationReply reply;
    if (!read) {
      problems.push_back({at + "/message", read.error().message});
    } else if (std::holds_alternative<ProgressMessage>(*read) != progress) {
      problems.push_back({at + "/message/type",
                          progress ? "must be \"progress\"" : "must be \"result\" or \"error\""});
    } else if (job) {
      const auto& objectives = job->context()->objectives;
      if (const auto* result = std::get_if<ResultMessage>(&*read)) {
        reply = reply_of(*result, objectives, -1);
      } else if (const auto* error = std::get_if<ErrorMessage>(&*read)) {
        reply = reply_of(*error, -1);
      } else {
        reply = reply_of(std::get<ProgressMessage>(*read), objectives);
      }
    }
    reply.log = log;
    replies.emplace_back(std::move(lease), std::move(reply));
  }
  return replies;
}

HttpResponse heartbeat(JobManager& manager, const Call& call) {
  const Result<json> body = parse_json(call.request.body);
  if (!body) return problem_response(body.error(), problem_types::malformed_json);
  LeaseDesk& desk = manager.lease_desk();
  Problems problems;
  ObjectReader reader(*body, "", problems);
  read_name(reader, "worker");
  const std::vector<std::string> leases = read_leases(reader);
  auto progress = read_messages(desk, reader, "progress", /*progress=*/true, problems);
  reader.refuse_others();
  if (auto refused = refusal(problems)) return std::move(*refused);
  json answer{{"ttl_s", std::chrono::duration<double>(desk.ttl()).count()},
              {"cancel", json::array()},
              {"gone", json::array()}};
  for (auto& [lease, reply] : progress) desk.progress(lease, std::move(reply));
  for (const std::string& lease : leases) {
    const Dispatcher::Beat beat = desk.beat(lease);
    if (beat == Dispatcher::Beat::cancelled) answer["cancel"].push_back(lease);
    if (beat == Dispatcher::Beat::gone) answer["gone"].push_back(lease);
  }
  return json_response(200, to_text(answer));
}

HttpResponse results(JobManager& manager, const Call& call) {
  const Result<json> body = parse_json(call.request.body);
  if (!body) return problem_response(body.error(), problem_types::malformed_json);
  LeaseDesk& desk = manager.lease_desk();
  Problems problems;
  ObjectReader reader(*body, "", problems);
  const std::string worker = read_name(reader, "worker");
  reader.require("results");
  auto replies = read_messages(desk, reader, "results", /*progress=*/false, problems);
  reader.refuse_others();
  if (auto refused = refusal(problems)) return std::move(*refused);
  std::vector<std::string> leases;
  for (auto& [lease, reply] : replies) {
    leases.push_back(lease);
    if (!worker.empty()) reply.worker = worker;
  }
  HttpResponse response;
  response.deferred = std::make_shared<DeferredResponse>();
  desk.finish(std::move(replies), [later = response.deferred,
                                   leases = std::move(leases)](const auto& statuses) {
    if (!statuses) {
      return later->set(problem_response(problem_types::unavailable,
                                         "The log cannot be written now; keep the "
                                         "results and bring them again."));
    }
    json answer{{"results", json::array()}};
    for (std::size_t i = 0; i < leases.size(); ++i) {
      answer["results"].push_back({{"lease", leases[i]}, {"status", name_of((*statuses)[i])}});
    }
    later->set(json_response(200, to_text(answer)));
  });
  return response;
}

HttpResponse tell(JobManager& manager, const Call& call) {
  const auto job = find_job(manager, call);
  if (!job) return problem_response(job.error());
  return results(manager, call);
}

HttpResponse release(JobManager& manager, const Call& call) {
  const Result<json> body = parse_json(call.request.body);
  if (!body) return problem_response(body.error(), problem_types::malformed_json);
  Problems problems;
  ObjectReader reader(*body, "", problems);
  read_name(reader, "worker");
  reader.require("leases");
  const std::vector<std::string> leases = read_leases(reader);
  reader.refuse_others();
  if (auto refused = refusal(problems)) return std::move(*refused);
  std::uint64_t released = 0;
  for (const std::string& lease : leases) {
    if (manager.lease_desk().release(lease)) ++released;
  }
  return json_response(200, to_text(json{{"released", released}}));
}

}  // namespace

std::vector<Operation> lease_operations(JobManager& manager) {
  const auto operation = [&manager](std::string pattern, std::string name, std::string summary,
                                    std::string body, std::size_t body_limit, Answer answer,
                                    HttpResponse (*handler)(JobManager&, const Call&)) {
    const bool of_job = pattern.find("{job}") != std::string::npos;
    const bool is_ask = name == "askJob";
    Operation made{
        .method = "POST",
        .pattern = std::move(pattern),
        .name = std::move(name),
        .summary = std::move(summary),
        .body_schema = std::move(body),
        .body_required = !is_ask,
        .body_limit = body_limit,
        .answers = {std::move(answer), problem_answer(400, "The body is not JSON."),
                    problem_answer(422, "A field of the body is not valid.")},
        .handler = [&manager, handler](const Call& call) { return handler(manager, call); }};
    if (of_job) made.answers.push_back(problem_answer(404, "There is no such job."));
    if (is_ask) made.answers.push_back(problem_answer(409, "Nobody can be asked about this job."));
    return made;
  };
  constexpr std::size_t small = 64 * 1024;
  return {
      operation("/v1/leases", "leaseAttempts",
                "Gives a worker attempts of a leased evaluator; waits up to wait_s for some.",
                "LeaseRequest", small, {200, "The attempts; none when the wait is over.", "Leases"},
                lease),
      operation("/v1/leases:heartbeat", "keepLeases",
                "Keeps attempts from being given to others; brings their progress.",
                "HeartbeatRequest", heartbeat_bytes,
                {200, "Which of them are cancelled or not open.", "HeartbeatAnswer"}, heartbeat),
      operation("/v1/leases:result", "reportResults",
                "Brings the ends of attempts; answers when they are durable. A trial's first "
                "result counts, even if its lease is over.",
                "ResultsRequest", results_bytes, {200, "What became of each.", "ResultsAnswer"},
                results),
      operation("/v1/leases:release", "releaseLeases", "Gives back attempts that have not begun.",
                "ReleaseRequest", small, {200, "How many were given back.", "ReleaseAnswer"},
                release),
      operation("/v1/jobs/{job}:ask", "askJob",
                "Gives candidates of a job to someone who evaluates them by hand.", "AskRequest",
                small, {200, "The attempts; none when the wait is over.", "Leases"}, ask),
      operation("/v1/jobs/{job}:tell", "tellJob", "Brings what was found for them.",
                "ResultsRequest", results_bytes, {200, "What became of each.", "ResultsAnswer"},
                tell),
  };
}

}  // namespace paretod
